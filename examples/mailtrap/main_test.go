package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/websocket"

	"github.com/mailkeel/mailkeel/internal/peers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trapped is a mailtrap in this process.
type trapped struct {
	t  *testing.T
	at map[string]string
}

func begin(t *testing.T, args ...string) *trapped {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	var log bytes.Buffer
	done := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"-quiet", "-smtp", "127.0.0.1:0", "-imap", "127.0.0.1:0", "-pop3", "127.0.0.1:0", "-http", "127.0.0.1:0"}, args...), w, &log)
		w.CloseWithError(io.EOF)
		done <- err
	}()
	x := &trapped{t, map[string]string{}}
	lines := bufio.NewScanner(r)
	ready := false
	for !ready && lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 2 {
			x.at[f[0]] = f[1]
		}
		ready = lines.Text() == "ready"
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if !ready {
		t.Fatalf("not ready: %s", &log)
	}
	return x
}

func (x *trapped) host() string {
	return strings.TrimSuffix(strings.TrimPrefix(x.at["http"], "http://"), "/")
}

func (x *trapped) send(to, subject, more string) {
	x.t.Helper()
	err := smtp.SendMail(x.at["smtp"], nil, "app@example.net", []string{to}, []byte("From: app@example.net\r\nTo: "+to+"\r\nSubject: "+subject+"\r\n"+more+"\r\nhello "+subject+"\r\n"))
	if err != nil {
		x.t.Fatal(err)
	}
}

// api calls a route, and wants a status.
func (x *trapped) api(status int, method, path string, body any, into any) string {
	x.t.Helper()
	b := &bytes.Buffer{}
	if s, ok := body.(string); ok {
		b.WriteString(s)
	} else if body != nil {
		json.NewEncoder(b).Encode(body)
	}
	r, err := http.NewRequest(method, x.at["http"]+path, b)
	if err != nil {
		x.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != status {
		x.t.Fatalf("%s %s: %s\n%s", method, path, resp.Status, text)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			x.t.Fatalf("%s %s: %v\n%s", method, path, err, text)
		}
	}
	return string(text)
}

func TestJavaScript(t *testing.T) {
	modules := peers.NodeModules(t)
	x := begin(t)
	out := peers.Command{Name: "node", Args: []string{"testdata/client.mjs", modules, x.at["smtp"], x.host(), x.at["imap"]}}.MustRun(t)
	if out != "done\n" {
		t.Error(out)
	}
}

func TestPython(t *testing.T) {
	peers.Need(t, "python3")
	x := begin(t)
	out := peers.Command{Name: "python3", Args: []string{"testdata/client.py", x.at["smtp"], x.host(), x.at["imap"]}}.MustRun(t)
	if out != "done\n" {
		t.Error(out)
	}
}

// TestRoutes are those that the tests in other languages do not call.
func TestRoutes(t *testing.T) {
	x := begin(t)
	for i := range 5 {
		x.send("ann@example.test", fmt.Sprintf("number %d", i), "X-Tags: odd\r\n")
	}
	var list listShape
	x.api(200, "GET", "/api/v1/wait?count=5", nil, &list)
	x.api(200, "GET", "/api/v1/messages?start=1&limit=2", nil, &list)
	if list.Total != 5 || list.MessagesCount != 5 || list.Count != 2 || list.Start != 1 || list.Unread != 5 || list.Messages[0].Subject != "number 3" || list.Messages[0].Inbox != "default" {
		t.Errorf("%+v", list)
	}
	id := list.Messages[0].ID
	if s := x.api(200, "GET", "/api/v1/message/"+id+"/raw", nil, nil); !strings.Contains(s, "\r\nhello number 3\r\n") {
		t.Error(s)
	}
	var info struct{ Messages, Unread int }
	x.api(200, "PUT", "/api/v1/messages", map[string]any{"IDs": []string{id}, "Read": true}, nil)
	x.api(200, "GET", "/api/v1/info", nil, &info)
	if info.Messages != 5 || info.Unread != 4 {
		t.Errorf("%+v", info)
	}
	x.api(200, "PUT", "/api/v1/tags/odd", map[string]string{"Name": "even"}, nil)
	x.api(200, "DELETE", "/api/v1/tags/even", nil, nil)
	var tags []string
	if x.api(200, "GET", "/api/v1/tags", nil, &tags); len(tags) != 0 {
		t.Error(tags)
	}
	x.api(200, "GET", "/api/v1/message/"+id+"/html-check", nil, nil)
	x.api(200, "GET", "/api/v1/message/"+id+"/link-check", nil, nil)
	for path, want := range map[string]string{"/": "number 3", "/?query=subject:4": "number 4", "/?query=is:odd": "is not known", "/view/" + id: "hello number 3", "/view/latest.txt": "hello number 4", "/view/" + id + ".html": "", "/livez": "ok", "/readyz": "ok", "/style.css": "color-scheme"} {
		if s := x.api(200, "GET", path, nil, nil); !strings.Contains(s, want) {
			t.Errorf("%s: no %q in %s", path, want, s)
		}
	}
	for _, path := range []string{"/api/v1/message/none", "/api/v1/message/none/raw", "/api/v1/message/" + id + "/part/1", "/view/none", "/nothing"} {
		x.api(404, "GET", path, nil, nil)
	}
	for _, path := range []string{"/api/v1/messages?start=x", "/api/v1/search?query=larger:x", "/api/v1/search?query=before:x", "/api/v1/wait?timeout=x", "/api/v1/wait?count=-1"} {
		x.api(400, "GET", path, nil, nil)
	}
	x.api(400, "PUT", "/api/v1/chaos", map[string]trigger{"Sender": {99, 50}}, nil)
	x.api(400, "PUT", "/api/v1/faults", "at RCPT fly", nil)
	x.api(400, "POST", "/api/v1/send", map[string]any{}, nil)
	x.api(400, "POST", "/api/v1/send", map[string]any{"From": person{"a@b", ""}, "To": []person{{"c@d", ""}}, "Headers": map[string]string{"X": "a\r\nBcc: x@y"}}, nil)
	x.api(400, "DELETE", "/api/v1/search", nil, nil)
	x.api(200, "DELETE", "/api/v1/messages", map[string]any{"IDs": []string{id}}, nil)
	x.api(200, "GET", "/api/v1/messages", nil, &list)
	if list.Total != 4 {
		t.Errorf("%+v", list)
	}
}

func TestSearch(t *testing.T) {
	x := begin(t)
	x.send("ann@example.test", "Welcome Ann", "Cc: carl@example.test\r\nReply-To: help@example.net\r\nMessage-ID: <id-1@x>\r\n")
	x.send("bob@example.test", "Bill", "X-Tags: money\r\n"+"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n\r\nx\r\n--B\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nx\r\n--B--\r\n")
	x.api(200, "GET", "/api/v1/wait?count=2", nil, nil)
	for query, want := range map[string]int{
		"": 2, "welcome": 1, `"welcome ann"`: 1, `"ann welcome"`: 0, "from:app@": 2, "to:bob": 1, "cc:carl": 1, "reply-to:help": 1, "addressed:carl": 1, "subject:bill": 1,
		"message-id:id-1": 1, "body:hello": 1, "tag:money": 1, "is:unread": 2, "is:read": 0, "is:tagged": 1, "has:attachment": 1, "has:inline": 0, "!to:bob": 1, "-to:bob": 1,
		"to:bob to:ann": 0, "larger:10": 2, "smaller:1M": 2, "before:2000-01-01": 0, "after:2000-01-01": 2, "inbox:default": 2, "x:y": 0, "bcc:ann": 0,
	} {
		var list listShape
		x.api(200, "GET", "/api/v1/search?query="+strings.NewReplacer(" ", "%20", `"`, "%22", "+", "%2B").Replace(query), nil, &list)
		if list.MessagesCount != want {
			t.Errorf("%q: %d, want %d", query, list.MessagesCount, want)
		}
	}
}

func TestEvents(t *testing.T) {
	x := begin(t)
	ws, err := websocket.Dial("ws://"+x.host()+"/api/events", "", x.at["http"])
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	ws.SetDeadline(time.Now().Add(time.Minute))
	x.send("ann@example.test", "one", "")
	var e struct {
		Type string
		Data summaryShape
	}
	if err := websocket.JSON.Receive(ws, &e); err != nil || e.Type != "new" || e.Data.Subject != "one" {
		t.Errorf("%+v %v", e, err)
	}
}

// TestManyInboxes at once do not see each other's mail.
func TestManyInboxes(t *testing.T) {
	x := begin(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			inbox := fmt.Sprintf("suite%d", i)
			for j := range 3 {
				x.send("ann@example.test", fmt.Sprintf("%d of %s", j, inbox), "X-Inbox: "+inbox+"\r\n")
			}
			var list listShape
			x.api(200, "GET", "/api/v1/wait?count=3&inbox="+inbox, nil, &list)
			if list.Total != 3 {
				t.Errorf("%s: %+v", inbox, list)
			}
		})
	}
	wg.Wait()
}

func TestOldOnesGo(t *testing.T) {
	x := begin(t, "-max", "2")
	for i := range 4 {
		x.send("ann@example.test", fmt.Sprint(i), "")
		x.api(200, "GET", fmt.Sprintf("/api/v1/wait?query=subject:%d", i), nil, nil)
	}
	x.send("ann@example.test", "last", "")
	x.api(200, "GET", "/api/v1/wait?query=subject:last", nil, nil)
	var list listShape
	x.api(200, "GET", "/api/v1/search?query=subject:0", nil, &list)
	if list.MessagesCount != 0 {
		t.Errorf("%+v", list)
	}
}

func TestFaultsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "faults")
	if err := os.WriteFile(file, []byte("at MAIL times=1 reply 451 4.3.0 later\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := begin(t, "-faults", file)
	if err := smtp.SendMail(x.at["smtp"], nil, "a@b.example", []string{"c@d.example"}, []byte("x")); err == nil || !strings.HasPrefix(err.Error(), "451") {
		t.Error(err)
	}
	x.send("c@d.example", "again", "")
	for _, args := range [][]string{{"-faults", "none"}, {"more"}, {"-smtp", "nowhere:0:0"}} {
		if err := run(t.Context(), append([]string{"-quiet", "-http", "127.0.0.1:0"}, args...), io.Discard, io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
