package imap

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Dovecot finds the same messages. (But it takes one without a date for one of 1970,
// and does not look into the headers of messages that are in others.)
func TestSearchLikeDovecot(t *testing.T) {
	keys := []string{
		"ALL", "1", "2:4,7", "*", "14:*", "*:15", "UID 1:3", "UID 15:*", "UID *:99", "UID 4294967295", "NOT 1:3", "OR 1 2", "OR (1:3 2) NOT 2:*", "(1:5 (2:3))",
		"SEEN", "UNSEEN", "DELETED", "UNDELETED", "FLAGGED UNSEEN", "DRAFT", "UNDRAFT", "ANSWERED", "UNANSWERED", "KEYWORD work", "UNKEYWORD Work", "KEYWORD never",
		"SUBJECT plain", "SUBJECT PLAIN", "SUBJECT \"folded subject\"", "SUBJECT \"\"", "CHARSET UTF-8 SUBJECT {5+}\r\nj\xc3\xb6rg", "FROM ann", "FROM example.org", "FROM \"ann a.\"", "FROM \"\"",
		"TO b@x", "CC undisclosed", "BCC d@x", "HEADER message-id 1@x", "HEADER X-None \"\"", "HEADER Sender \"\"", "HEADER In-Reply-To 2@x", "HEADER content-type digest",
		"BODY lines", "BODY \"of lines\"", "BODY nothing", "TEXT innermost", "TEXT ann", "TEXT {5+}\r\nouter",
		"SENTON 1-Jan-2024", "SENTSINCE 1-Jan-2024", "1 SENTBEFORE 1-Jan-2024", "1 SENTBEFORE 2-Jan-2024", "LARGER 200", "SMALLER 50", "LARGER 0", "SMALLER 0", "LARGER 99999999",
	}
	script := "a SELECT INBOX\r\n" +
		"b STORE 1:3 +FLAGS.SILENT (\\Seen)\r\nb STORE 2,5 +FLAGS.SILENT (\\Flagged Work)\r\nb STORE 4 +FLAGS.SILENT (\\Deleted \\Draft)\r\nb STORE 6 +FLAGS.SILENT \\Answered\r\n"
	for i, k := range keys {
		script += fmt.Sprintf("s%d SEARCH RETURN (ALL COUNT MIN MAX) %s\r\n", i, k)
	}
	script += "z LOGOUT\r\n"
	var contents []string
	for _, c := range sober {
		contents = append(contents, strings.ReplaceAll(c, "\n", "\r\n"))
	}
	found := regexp.MustCompile(`(?m)^\* ESEARCH \(TAG "s(\d+)"\)(.*)\r$`)
	results := func(out string) map[string]string {
		all := map[string]string{}
		for _, m := range found.FindAllStringSubmatch(out, -1) {
			words := strings.Fields(m[2])
			pairs := []string{}
			for i := 0; i+1 < len(words); i += 2 {
				pairs = append(pairs, words[i]+" "+words[i+1])
			}
			slices.Sort(pairs)
			all[m[1]] = strings.Join(pairs, ", ")
		}
		return all
	}
	theirs := results(dovecot(t, contents, script))
	mine := results(ours(t, sober, script))
	for i, k := range keys {
		n := fmt.Sprint(i)
		if mine[n] == "" || mine[n] != theirs[n] {
			t.Errorf("SEARCH %q\n   ours %s\ntheirs %s", k, mine[n], theirs[n])
		}
	}
}

// Dovecot lists the same mailboxes, and says the same of them.
func TestListLikeDovecot(t *testing.T) {
	script := ""
	for _, name := range []string{"a", "a/b", "a/b/c", "d", "d/e", "&AOQ-", "f&-g", `"h i"`, "INBOX/sub", "parent", "parent/child", "gone", "j%k"} {
		if strings.ContainsAny(name, "%") {
			name = `"` + name + `"`
		}
		script += "c CREATE " + name + "\r\n"
	}
	for _, name := range []string{"INBOX", "INBOX/sub", "a", "a/b", "a/b/c", "d", "d/e", "&AOQ-", "f&-g", `"h i"`, "parent", "parent/child", "gone", `"j%k"`} {
		script += "u UNSUBSCRIBE " + name + "\r\n" // not all subscribe what is made
	}
	script += "c DELETE parent\r\ns SUBSCRIBE a/b\r\ns SUBSCRIBE d\r\ns SUBSCRIBE parent/child\r\ns SUBSCRIBE gone\r\nd DELETE gone\r\n" +
		"d APPEND d {12+}\r\nSubject: x\r\n\r\nd COPY 1 d\r\nd SELECT INBOX\r\nd COPY 1:3 a\r\nd UNSELECT\r\n"
	asked := []string{
		`LIST "" *`, `LIST "" %`, `LIST "" a/%`, `LIST "" a*`, `LIST a/ %`, `LIST a/b/ *`, `LIST "" */%`, `LIST "" %/%`, `LIST "" inbox`, `LIST "" InBox/%`, `LIST "" "*i"`,
		`LIST "" &AOQ-`, `LIST "" f&-*`, `LIST "" nothing`, `LIST "" "" `, `LSUB "" *`, `LSUB "" a/*`,
		`LIST "" (a d nothing)`, `LIST () "" (%) RETURN ()`, `LIST "" % RETURN (CHILDREN)`, `LIST "" * RETURN (SUBSCRIBED)`, `LIST (SUBSCRIBED) "" *`, `LIST (SUBSCRIBED) "" %`,
		`LIST (SUBSCRIBED) "" * RETURN (CHILDREN)`, `LIST (SUBSCRIBED RECURSIVEMATCH) "" a`, `LIST (SUBSCRIBED RECURSIVEMATCH) "" *`, `LIST "" par*`, `LIST "" parent RETURN (CHILDREN)`, `LIST (REMOTE) "" a`, `LIST (RECURSIVEMATCH) "" %`,
		`LIST "" (a d) RETURN (STATUS (MESSAGES UIDNEXT UNSEEN SIZE))`, `STATUS a (MESSAGES UIDNEXT UNSEEN)`, `STATUS d (SIZE MESSAGES)`, `STATUS INBOX (MESSAGES)`, `STATUS nothing (MESSAGES)`, `STATUS a ()`,
	}
	for i, q := range asked {
		script += fmt.Sprintf("q%d %s\r\n", i, q)
	}
	script += "z LOGOUT\r\n"
	answer := regexp.MustCompile(`^q(\d+) (OK|NO|BAD)`)
	answers := func(out string) map[string]string {
		all, lines := map[string]string{}, []string{}
		for line := range strings.SplitSeq(out, "\r\n") {
			if m := answer.FindStringSubmatch(line); m != nil {
				slices.Sort(lines)
				all[m[1]] = strings.Join(append(lines, m[2]), "\n")
				lines = nil
			} else if strings.HasPrefix(line, "* L") || strings.HasPrefix(line, "* STATUS") {
				lines = append(lines, wordsSorted(line))
			}
		}
		return all
	}
	var contents []string
	for _, c := range sober[:3] {
		contents = append(contents, strings.ReplaceAll(c, "\n", "\r\n"))
	}
	theirs := answers(dovecot(t, contents, script))
	mine := answers(ours(t, sober[:3], script))
	for i, q := range asked {
		n := fmt.Sprint(i)
		if mine[n] == "" || mine[n] != theirs[n] {
			t.Errorf("%s\n   ours %s\ntheirs %s", q, mine[n], theirs[n])
		}
	}
}

var parentheses = regexp.MustCompile(`\([^()]*\)`)

// wordsSorted makes lines alike whose lists say the same in another order, and whose
// strings are written in another way.
func wordsSorted(line string) string {
	line = parentheses.ReplaceAllStringFunc(line, func(s string) string {
		words := strings.Fields(s[1 : len(s)-1])
		slices.Sort(words)
		return "(" + strings.Join(words, " ") + ")"
	})
	return strings.NewReplacer(`"`, "", `\NonExistent`, `\Noselect`).Replace(line)
}
