package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/testpg"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/cluster"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// opened counts what is read.
type opened struct {
	blob.Store
	n atomic.Int64
}

func (o *opened) Open(ctx context.Context, ref blob.Ref, off, n int64) (io.ReadCloser, error) {
	o.n.Add(1)
	return o.Store.Open(ctx, ref, off, n)
}

const password = "correct horse battery"

// search logs in to IMAP and returns the answer to a SEARCH.
func search(t *testing.T, addr net.Addr, what string) (found string) {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for i, command := range []string{"", `LOGIN ann@example.test "` + password + `"`, "SELECT INBOX", "SEARCH " + what, "LOGOUT"} {
		tag := fmt.Sprint("t", i)
		if i > 0 {
			fmt.Fprintf(c, "%s %s\r\n", tag, command)
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(command, err)
			}
			if s, ok := strings.CutPrefix(line, "* SEARCH"); ok {
				found = strings.TrimSpace(s)
			}
			if i == 0 || strings.HasPrefix(line, tag+" OK") {
				break
			}
			if strings.HasPrefix(line, tag) {
				t.Fatalf("%s: %s", command, line)
			}
		}
	}
	return found
}

// One node indexes an account, and a search at another reads no message.
func TestSearchesAnswerFromTheIndex(t *testing.T) {
	pg := testpg.Start(t, testpg.Options{NoSync: true})
	conn := pg.Database(t)
	ctx := t.Context()
	blobs := &opened{Store: &memblob.Store{}}
	var servers []*server.Server
	var id store.AccountID
	for i := range 2 {
		n, err := cluster.Open(ctx, conn, blobs, cluster.Options{MaxConns: 4})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			defer n.Close() // the other closes with its server
			if err := n.Accounts.PutDomain(ctx, accounts.Domain{Name: "example.test"}); err != nil {
				t.Fatal(err)
			}
			a, err := n.Accounts.CreateAccount(ctx, accounts.Account{Address: "ann@example.test"}, password)
			if err != nil {
				t.Fatal(err)
			}
			id = a.ID
		}
		c := server.Config{Hostname: "mail.example.test", IMAP: server.Listen{Addr: "127.0.0.1:0"}, InsecureAuth: true}
		n.Fill(&c)
		s, err := server.New(c)
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	box, err := servers[0].Store.As(id).Folder(ctx, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		w, err := blobs.Create(ctx)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "Subject: number%dx\r\n\r\nThe Quick Brown Fox%dy\r\n", i, i)
		info, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := servers[0].Store.As(id).Append(ctx, box.ID, store.Append{Blob: info}); err != nil {
			t.Fatal(err)
		}
	}
	servers[0].Indexer.Rest, servers[1].Indexer.Rest = -1, -1
	for _, s := range servers {
		if err := s.Indexer.CatchUp(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	stop, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- servers[1].Run(stop) }()
	<-servers[1].Ready()
	for what, want := range map[string]string{"BODY \"brown fox17\"": "18", "TEXT number31x": "32", "SUBJECT number4x": "5", "BODY absent": ""} {
		before := blobs.n.Load()
		if got := search(t, servers[1].Addr(server.IMAP), what); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
		if n := blobs.n.Load() - before; n != 0 {
			t.Errorf("%s reads %d messages", what, n)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A database that cannot have the extension is as good, without an index, and the log
// says so once.
func TestWithoutTheExtension(t *testing.T) {
	pg := testpg.Start(t, testpg.Options{NoSync: true})
	pg.Exec(t, "postgres", "CREATE ROLE mail LOGIN")
	pg.Exec(t, "postgres", "CREATE DATABASE mail TEMPLATE template0 ENCODING 'UTF8'")
	pg.Exec(t, "mail", "CREATE SCHEMA mail AUTHORIZATION mail")
	conn := strings.Replace(pg.URL("mail"), "user=postgres", "user=mail", 1)
	var log bytes.Buffer
	n, err := cluster.Open(t.Context(), conn, &memblob.Store{}, cluster.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var c server.Config
	n.Fill(&c)
	if n.Search != nil || c.Search != nil {
		t.Error("there is an index")
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	said := 0
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "pg_trgm") && strings.Contains(line, "searches have no index") {
			said++
		}
	}
	if said != 1 {
		t.Errorf("the log is %s", &log)
	}
}
