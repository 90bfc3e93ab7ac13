package imap

import (
	"context"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// namings are all commands, with the ways in which each can name a mailbox (§, or ¶
// in a URL) or an account (¤). Those that name neither have none.
var namings = map[string][]string{
	"CAPABILITY": nil, "NOOP": nil, "LOGOUT": nil, "ID": nil, "STARTTLS": nil, "LOGIN": nil, "AUTHENTICATE": nil,
	"UNAUTHENTICATE": nil, "ENABLE": nil, "NAMESPACE": nil, "IDLE": nil, "COMPRESS": nil, "CHECK": nil, "CLOSE": nil,
	"UNSELECT": nil, "EXPUNGE": nil, "UID EXPUNGE": nil, "FETCH": nil, "UID FETCH": nil, "STORE": nil, "UID STORE": nil,
	"SEARCH": nil, "UID SEARCH": nil, "SORT": nil, "UID SORT": nil, "THREAD": nil, "UID THREAD": nil,

	"SELECT":      {"SELECT §", "SELECT § (CONDSTORE)"},
	"EXAMINE":     {"EXAMINE §"},
	"CREATE":      {"CREATE §", "CREATE §/New", "CREATE §/", "CREATE § (USE (\\Sent))"},
	"DELETE":      {"DELETE §"},
	"RENAME":      {"RENAME § Mine", "RENAME § §/Below", "RENAME Own §", "RENAME INBOX §", "RENAME Own §/Below"},
	"SUBSCRIBE":   {"SUBSCRIBE §"},
	"UNSUBSCRIBE": {"UNSUBSCRIBE §"},
	"LIST": {
		`LIST "" §`, "LIST § *", "LIST §/ %", `LIST "" (§ INBOX)`, "LIST (SUBSCRIBED) \"\" §", "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" §*",
		`LIST "" § RETURN (CHILDREN SUBSCRIBED SPECIAL-USE MYRIGHTS METADATA (/shared/comment /private/comment) STATUS (MESSAGES UNSEEN UIDNEXT SIZE HIGHESTMODSEQ MAILBOXID DELETED-STORAGE))`,
	},
	"LSUB":         {`LSUB "" §`, `LSUB § *`},
	"STATUS":       {"STATUS § (MESSAGES)", "STATUS § (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE APPENDLIMIT HIGHESTMODSEQ MAILBOXID DELETED-STORAGE)"},
	"ESEARCH":      {"ESEARCH IN (mailboxes §) ALL", "ESEARCH IN (subtree §) RETURN (COUNT) ALL", "ESEARCH IN (subtree-one § selected) ALL"},
	"GETACL":       {"GETACL §"},
	"SETACL":       {"SETACL § ann@example.org lrswipkxtea", "SETACL § bob@example.org +l", "SETACL § nobody@example.org +l", "SETACL § anyone l"},
	"DELETEACL":    {"DELETEACL § ann@example.org", "DELETEACL § bob@example.org", "DELETEACL § nobody@example.org"},
	"LISTRIGHTS":   {"LISTRIGHTS § ann@example.org", "LISTRIGHTS § bob@example.org", "LISTRIGHTS § nobody@example.org"},
	"MYRIGHTS":     {"MYRIGHTS §"},
	"GETQUOTA":     {"GETQUOTA ¤"},
	"GETQUOTAROOT": {"GETQUOTAROOT §"},
	"SETQUOTA":     {"SETQUOTA ¤ (STORAGE 5)", "SETQUOTA ¤ ()"},
	"GETMETADATA":  {"GETMETADATA § /shared/comment", "GETMETADATA (DEPTH infinity MAXSIZE 10) § (/shared /private)"},
	"SETMETADATA":  {"SETMETADATA § (/shared/comment \"x\")", "SETMETADATA § (/private/comment NIL)", `SETMETADATA § (/private/specialuse "\\Sent")`},
	"APPEND": {
		"APPEND § {3+}\r\nhey", "APPEND § (\\Seen) ~{3+}\r\nhey", "APPEND § {3+}\r\nhey {3+}\r\nyou",
		`APPEND INBOX CATENATE (URL "/¶/;UID=1")`, `APPEND INBOX CATENATE (URL "/¶;UIDVALIDITY=1767323046/;UID=1/;SECTION=TEXT")`, `APPEND § CATENATE (TEXT {3+}` + "\r\nhey)",
	},
	"NOTIFY": {
		"NOTIFY SET STATUS (mailboxes § (MessageNew MessageExpunge FlagChange))", "NOTIFY SET STATUS (subtree § (MessageNew MessageExpunge MailboxName SubscriptionChange))",
		"NOTIFY SET (mailboxes § (MessageNew MessageExpunge MailboxMetadataChange))",
	},
	"COPY": {"COPY 1 §"}, "UID COPY": {"UID COPY 1 §", "UID COPY 77 §"},
	"MOVE": {"MOVE 1 §"}, "UID MOVE": {"UID MOVE 1 §", "UID MOVE 77 §"},
	"REPLACE": {"REPLACE 1 § {3+}\r\nhey"}, "UID REPLACE": {"UID REPLACE 1 § {3+}\r\nhey"},

	// Commands that may come.
	"GENURLAUTH": {`GENURLAUTH "imap://ann@example.org/¶/;UID=1;URLAUTH=user+ann" INTERNAL`}, "URLFETCH": {`URLFETCH "/¶/;UID=1"`},
	"RESETKEY": {"RESETKEY §"}, "CANCELUPDATE": nil, "JMAPACCESS": nil,
}

// knownCommands are those of lookup, from its source: so none can be forgotten here.
func knownCommands(t *testing.T) (out []string) {
	f, err := goparser.ParseFile(token.NewFileSet(), "command.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(n ast.Node, prefix string)
	walk = func(n ast.Node, prefix string) {
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.IfStmt:
				if sel, ok := n.Cond.(*ast.SelectorExpr); ok && sel.Sel.Name == "uid" {
					walk(n.Body, "UID ")
					return false
				}
			case *ast.CaseClause:
				for _, e := range n.List {
					if lit, ok := e.(*ast.BasicLit); ok {
						name, _ := strconv.Unquote(lit.Value)
						out = append(out, prefix+name)
					}
				}
			}
			return true
		})
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "lookup" {
			walk(fn.Body, "")
		}
	}
	if len(out) < 40 {
		t.Fatalf("lookup knows %q only", out)
	}
	return out
}

// secret is what nobody but its owner may ever see.
const secret = "topsecret"

// stranger is a server with what bob has, and ann before it with her INBOX selected.
func stranger(t *testing.T, granted bool) (*store.Store, *peer) {
	clock := new(testclock.Clock)
	st := &store.Store{Backend: new(memstore.Backend), Blobs: &memblob.Store{Clock: clock}, Clock: clock}
	addr := start(t, &Server{Store: st, Clock: clock, InsecureAuth: true, Roster: users(), Quotas: &quotas{}})
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	ann := st.As("a1")
	_, err := ann.Create(ctx, "Own", "")
	must(err)
	put(t, st, "a1", "INBOX", "Subject: mine\n\nmine\n")
	for _, who := range []store.AccountID{"b1", "d1"} {
		a := st.As(who)
		_, err := a.Folder(ctx, inbox)
		must(err)
		for _, name := range []string{"Secret", "Secret/Deep", "Sent"} {
			_, err := a.Create(ctx, name, "")
			must(err)
		}
		for _, name := range []string{"INBOX", "Secret"} {
			put(t, st, who, name, "Subject: "+secret+"\n\n"+secret+"\n")
			put(t, st, who, name, "Subject: "+secret+" 2\n\n"+secret+"\n", `\Deleted`)
			f, err := a.Folder(ctx, name)
			must(err)
			must(a.SetMetadata(ctx, f.ID, nil, store.Metadata{Name: "/shared/comment", Value: []byte(secret)}))
			must(a.Grant(ctx, f.ID, "c1", store.AllRights))
			if granted {
				must(a.Grant(ctx, f.ID, "a1", store.AllRights))
			}
		}
	}
	p := dial(t, addr)
	if err := p.SetDeadline(time.Now().Add(time.Minute)); err != nil { // only matters when it fails
		t.Fatal(err)
	}
	p.ok("LOGIN ann@example.org secret")
	p.ok("SELECT INBOX")
	return st, p
}

// A pair is a name of what is there, and one of what is not.
type pair struct{ there, none string }

var strangers = []pair{
	{"Other Users/bob@example.org/Secret", "Other Users/bob@example.org/Nothing"},
	{"Other Users/bob@example.org/Secret/Deep", "Other Users/bob@example.org/Secret/None"},
	{"Other Users/bob@example.org/INBOX", "Other Users/nobody@example.org/INBOX"},
	{"Other Users/bob@example.org", "Other Users/nobody@example.org"},
	{"Shared Folders/desk@example.org/Secret", "Shared Folders/nobody@example.org/Secret"},
	{"Shared Folders/bob@example.org/Secret", "Other Users/desk@example.org/Secret"}, // neither is there
	{"Secret", "Secreu"},
	{"Secret/Deep", "Secret/Deeq"},
}

func account(name string) string {
	for part := range strings.SplitSeq(name, "/") {
		if strings.Contains(part, "@") {
			return part
		}
	}
	return name + "@example.org"
}

// ask does a form of a command about a name, and returns all that is answered, also
// to what happens after it, without the name.
func ask(t *testing.T, form, name string, granted bool) (answer, said string, changed bool) {
	st, p := stranger(t, granted)
	rows := func() (out []store.ModSeq) {
		err := st.Backend.View(t.Context(), func(tx store.Tx) error {
			accs, err := tx.Accounts("b1", "d1")
			for _, a := range accs {
				out = append(out, a.ModSeq)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	before := rows()
	// The name may have something behind it, within the same quotation marks.
	var sb strings.Builder
	for i, part := range strings.Split(form, "§") {
		if i == 0 {
			sb.WriteString(part)
			continue
		}
		tail := part[:len(part)-len(strings.TrimLeft(part, "/*BelowN"))]
		sb.WriteString(`"` + name + tail + `"` + part[len(tail):])
	}
	inURL := strings.ReplaceAll(url.PathEscape(name), "%2F", "/")
	cmd := strings.NewReplacer("¶", inURL, "¤", account(name)).Replace(sb.String())
	lines := p.do("%s", cmd)
	answer = strings.Join(lines, "\n")
	changed = !slices.Equal(before, rows())
	if _, err := st.As("b1").Folder(t.Context(), "Secret"); err != nil && granted { // ann has deleted it
		_, err = st.As("b1").Create(t.Context(), "Secret", "")
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, st, "b1", "Secret", "Subject: "+secret+"\n\nnews\n") // what might be told of
	lines = append(lines, p.do("NOOP")...)
	lines = append(lines, p.do(`LIST "" *`)...)
	lines = append(lines, p.do("STATUS INBOX (MESSAGES)")...)
	said = strings.Join(lines, "\n")
	if !granted && strings.Contains(said, secret) {
		t.Errorf("%s:\n%s", cmd, said)
	}
	said = strings.NewReplacer(name, "§", inURL, "¶").Replace(said)
	return answer, strings.ReplaceAll(said, account(name), "¤"), changed
}

// T19: whatever one asks about mailboxes of others, the answer is that for what exists
// nowhere, nothing of theirs is read, and nothing of theirs changes.
func TestStrangersLearnNothing(t *testing.T) {
	commands := knownCommands(t)
	for _, name := range commands {
		if _, ok := namings[name]; !ok {
			t.Errorf("%s is a command of which this test does not know whether it names mailboxes", name)
		}
	}
	n, told := 0, 0
	for _, name := range slices.Sorted(maps.Keys(namings)) {
		if !slices.Contains(commands, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			differs := false
			for _, form := range namings[name] {
				for _, p := range strangers {
					_, there, changed := ask(t, form, p.there, false)
					_, none, _ := ask(t, form, p.none, false)
					if n++; there != none {
						t.Errorf("%s\nabout %s:\n%s\nabout %s:\n%s", form, p.there, there, p.none, none)
					}
					if changed {
						t.Errorf("%s about %s changed something of its owner's", form, p.there)
					}
				}
				// That it would show: with rights the answer is another one.
				may, _, _ := ask(t, form, strangers[0].there, true)
				not, _, _ := ask(t, form, strangers[0].there, false)
				differs = differs || may != not
			}
			if len(namings[name]) > 0 {
				if told++; !differs {
					t.Error("no form of it has another answer to who has rights")
				}
			}
		})
	}
	t.Logf("%d commands, %d of them name mailboxes; %d questions answered alike", len(commands), told, n)
}
