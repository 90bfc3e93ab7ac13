package imap

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A dated message has an internal date.
type dated struct{ received, text string }

// correspondence is what SORT and THREAD are compared over: trees of replies, odd
// subjects, encoded words, missing and broken dates, groups, duplicates.
var correspondence = []dated{
	{"01-Jan-2024 10:00:00 +0000", "From: Zoe <zoe@x>\nTo: ann@example.org\nCc: carl@x\nSubject: Plans\nDate: Mon, 1 Jan 2024 09:00:00 +0000\nMessage-ID: <a1@x>\n\n1\n"},
	{"01-Jan-2024 11:00:00 +0000", "From: ann@example.org\nTo: Zoe <zoe@x>\nSubject: Re: plans\nDate: Mon, 1 Jan 2024 04:30:00 -0600\nMessage-ID: <a2@x>\nReferences: <a1@x>\nIn-Reply-To: <a1@x>\n\n2 long enough to differ\n"},
	{"01-Jan-2024 09:00:00 +0000", "From: \"bob\" <Bob@x>\nTo: ann@example.org, zoe@x\nSubject: RE: [list] Re[2]: plans (fwd)\nDate: Mon, 1 Jan 2024 12:00:00 +0100\nMessage-ID: <a3@x>\nReferences: <a1@x> <a2@x>\n\n3\n"},
	{"03-Jan-2024 10:00:00 +0000", "From: =?utf-8?q?=C3=84nne?= <anne@x>\nTo: g: one@x, two@x;\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nDate: Wed, 3 Jan 2024 10:00:00 +0000\nMessage-ID: <b1@x>\n\n4 x\n"},
	{"03-Jan-2024 11:00:00 +0000", "From: =?iso-8859-1?q?=E4nne?= B <anne@x>\nTo: undisclosed-recipients:;\nSubject: =?utf-8?q?AW=3A_gr=C3=BC=C3=9Fe?=\nDate: Wed, 3 Jan 2024 10:30:00 +0000\nMessage-ID: <b2@x>\nIn-Reply-To: <b1@x>\n\n5\n"},
	{"03-Jan-2024 12:00:00 +0000", "From: carl@x\nSubject: re:\nDate: Wed, 3 Jan 2024 11:00:00 +0000\nMessage-ID: <c1@x>\nReferences: <lost1@x> <lost2@x>\n\n6\n"},
	{"03-Jan-2024 12:30:00 +0000", "From: carl@x\nSubject: Odd\nDate: Wed, 3 Jan 2024 10:45:00 +0000\nMessage-ID: <c2@x>\nReferences: <lost1@x> <lost2@x>\n\n7\n"},
	{"03-Jan-2024 13:00:00 +0000", "From: dora@x\nSubject: odd\nDate: Wed, 3 Jan 2024 12:00:00 +0000\nMessage-ID: <c3@x>\nReferences: <lost1@x>\n\n8\n"},
	{"02-Jan-2024 10:00:00 +0000", "From: no date <n@x>\nSubject: Fwd: plans\nMessage-ID: <d1@x>\n\n9\n"},
	{"02-Jan-2024 11:00:00 +0000", "From: bad date <n@x>\nSubject: [fwd: plans]\nDate: yesterday\nMessage-ID: <d2@x>\n\n10\n"},
	{"04-Jan-2024 10:00:00 +0000", "From: \nSubject: \nDate: Thu, 4 Jan 2024 10:00:00 +0000\nMessage-ID: <e1@x>\n\n11\n"},
	{"04-Jan-2024 11:00:00 +0000", "Date: Thu, 4 Jan 2024 10:00:00 +0000\nMessage-ID: <e1@x>\nReferences: <a3@x>\n\n12 the same ID again\n"},
	{"05-Jan-2024 10:00:00 +0000", "Subject: loop\nDate: Fri, 5 Jan 2024 10:00:00 +0000\nMessage-ID: <l1@x>\nReferences: <l2@x>\n\n13\n"},
	{"05-Jan-2024 11:00:00 +0000", "Subject: loop 2\nDate: Fri, 5 Jan 2024 09:00:00 +0000\nMessage-ID: <l2@x>\nReferences: <l1@x>\n\n14\n"},
	{"05-Jan-2024 12:00:00 +0000", "Subject: self\nDate: Fri, 5 Jan 2024 12:00:00 +0000\nMessage-ID: <s1@x>\nReferences: <s1@x>\n\n15\n"},
	{"06-Jan-2024 10:00:00 +0000", "Subject: [a] [b]\nDate: Sat, 6 Jan 2024 10:00:00 +0000\nMessage-ID: <t1@x>\n\n16\n"},
	{"06-Jan-2024 10:00:00 +0000", "Subject: Re: [b]\nDate: Sat, 6 Jan 2024 11:00:00 +0000\nMessage-ID: <t2@x>\n\n17\n"},
	{"06-Jan-2024 11:00:00 +0000", "Subject: Re: Re: [x] re : fw[3]:  spaced \t out  (fwd) (fwd)\nDate: Sat, 6 Jan 2024 12:00:00 +0000\n\n18 no id\n"},
	{"06-Jan-2024 12:00:00 +0000", "Subject: spaced out\nDate: Sat, 6 Jan 2024 13:00:00 +0000\nMessage-ID: no brackets\n\n19\n"},
	{"07-Jan-2024 10:00:00 +0000", "Subject: orphan\nDate: Sun, 7 Jan 2024 10:00:00 +0000\nMessage-ID: <o1@x>\nReferences: <gone@x>\n\n20\n"},
	{"07-Jan-2024 11:00:00 +0000", "Subject: a new subject\nDate: Sun, 7 Jan 2024 09:00:00 +0000\nMessage-ID: <o2@x>\nReferences: <gone@x> <o1@x>\nIn-Reply-To: <a1@x>\n\n21\n"},
	{"07-Jan-2024 12:00:00 +0000", "Subject: two parents\nDate: Sun, 7 Jan 2024 12:00:00 +0000\nMessage-ID: <o3@x>\nIn-Reply-To: <o1@x> <a1@x>\n\n22\n"},
	{"07-Jan-2024 13:00:00 +0000", "Subject: branch\nDate: Sun, 7 Jan 2024 13:00:00 +0000\nMessage-ID: <o4@x>\nReferences: <gone@x> <o2@x>\n\n23\n"},
	{"08-Jan-2024 10:00:00 +0000", "Subject: zone\nDate: Mon, 8 Jan 2024 10:00:00 EST\nFrom: zone@x\n\n24\n"},
	{"08-Jan-2024 10:00:00 +0000", "Subject: two digits\nDate: 8 Jan 24 11:00 GMT\nFrom: two@x\n\n25\n"},
	{"08-Jan-2024 10:00:00 +0000", "Subject: STRASSE\nDate: Mon, 8 Jan 2024 12:00:00 +0000\nFrom: s1@x\n\n26\n"},
	{"08-Jan-2024 10:00:00 +0000", "Subject: =?utf-8?q?stra=C3=9Fe?=\nDate: Mon, 8 Jan 2024 12:01:00 +0000\nFrom: s2@x\n\n27\n"},
	{"08-Jan-2024 10:00:00 +0000", "Subject: =?utf-8?b?w4lDTEFJUg==?=\nDate: Mon, 8 Jan 2024 12:02:00 +0000\nFrom: \"quoted\\\"local\"@x\n\n28\n"},
	{"08-Jan-2024 10:00:00 +0000", "Subject: =?utf-8?b?w6ljbGFpcg==?=\nDate: Mon, 8 Jan 2024 12:03:00 +0000\nFrom: Team: a@x;\nTo: Team: b@x;\n\n29\n"},
	{"08-Jan-2024 10:00:00 +0000", "Subject: Eclair\nDate: Mon, 8 Jan 2024 12:04:00 +0000\nFrom: first@x, second@x\nTo: \"B, C\" <bc@x>\n\n30\n"},
	{"09-Jan-2024 10:00:00 +0000", "Subject: Re: twins\nDate: Tue, 9 Jan 2024 10:00:00 +0000\nMessage-ID: <w1@x>\n\n31\n"},
	{"09-Jan-2024 10:00:00 +0000", "Subject: Re: twins\nDate: Tue, 9 Jan 2024 10:00:00 +0000\nMessage-ID: <w2@x>\n\n32\n"},
	{"09-Jan-2024 10:00:00 +0000", "Subject: Fwd: twins\nDate: Tue, 9 Jan 2024 09:00:00 +0000\nMessage-ID: <w3@x>\n\n33\n"},
	{"09-Jan-2024 10:00:00 +0000", "Subject: sisters\nDate: Tue, 9 Jan 2024 11:00:00 +0000\nMessage-ID: <w4@x>\n\n34\n"},
	{"09-Jan-2024 10:00:00 +0000", "Subject: sisters\nDate: Tue, 9 Jan 2024 10:59:00 +0000\nMessage-ID: <w5@x>\nReferences: <\"quo\"@x>\n\n35\n"},
	{"09-Jan-2024 10:00:00 +0000", "Subject: quoted\nDate: Tue, 9 Jan 2024 08:00:00 +0000\nMessage-ID: <quo@x>\n\n36\n"},
	{"10-Jan-2024 10:00:00 +0000", "Subject: deep 1\nDate: Wed, 10 Jan 2024 10:00:00 +0000\nMessage-ID: <n1@x>\n\n37\n"},
	{"10-Jan-2024 10:00:00 +0000", "Subject: deep 3\nDate: Wed, 10 Jan 2024 12:00:00 +0000\nMessage-ID: <n3@x>\nReferences: <n1@x> <n2@x>\n\n38\n"},
	{"10-Jan-2024 10:00:00 +0000", "Subject: deep 4\nDate: Wed, 10 Jan 2024 11:00:00 +0000\nMessage-ID: <n4@x>\nReferences: <n1@x> <n2@x>\n\n39\n"},
	{"10-Jan-2024 10:00:00 +0000", "Subject: deep 5\nDate: Wed, 10 Jan 2024 13:00:00 +0000\nMessage-ID: <n5@x>\nReferences: <n1@x> <n2@x> <n4@x>\n\n40\n"},
}

// sortingScript asks about the messages.
func sortingScript(ms []dated, asked []string) string {
	script := "a CREATE letters\r\n"
	for _, m := range ms {
		text := strings.ReplaceAll(m.text, "\n", "\r\n")
		script += fmt.Sprintf("a APPEND letters %q {%d+}\r\n%s\r\n", m.received, len(text), text)
	}
	script += "a SELECT letters\r\n"
	for i, q := range asked {
		script += fmt.Sprintf("q%d %s\r\n", i, q)
	}
	return script + "z LOGOUT\r\n"
}

var taggedAnswer = regexp.MustCompile(`^q(\d+) (OK|NO|BAD)`)

// untagged returns what was said to each command, and how it ended. Dovecot ends some
// only after it has answered the next, so the answers are counted.
func untagged(out string, commands int) []string {
	said, end := []string{}, make([]string, commands)
	for line := range strings.SplitSeq(out, "\r\n") {
		if m := taggedAnswer.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			end[n] = m[2]
		} else if strings.HasPrefix(line, "* SORT") || strings.HasPrefix(line, "* THREAD") || strings.HasPrefix(line, "* ESEARCH") {
			said = append(said, strings.TrimSpace(line))
		}
	}
	for i, e := range end {
		if e == "OK" && len(said) > 0 {
			end[i], said = said[0], said[1:]
		}
	}
	return end
}

// Dovecot sorts and threads in the same way.
func TestSortLikeDovecot(t *testing.T) {
	var asked []string
	for _, key := range []string{"ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO"} {
		asked = append(asked, "SORT ("+key+") UTF-8 ALL", "UID SORT (REVERSE "+key+") UTF-8 ALL")
	}
	asked = append(asked,
		"SORT (SUBJECT REVERSE DATE) UTF-8 ALL", "SORT (REVERSE SUBJECT REVERSE DATE FROM) US-ASCII NOT 3:9", "SORT (FROM TO CC) UTF-8 SUBJECT plans", "SORT (SUBJECT) UTF-8 SUBJECT nothing",
		"SORT (SUBJECT) KLINGON ALL", "SORT () UTF-8 ALL", "SORT (NONE) UTF-8 ALL",
		"SORT RETURN (COUNT) (SIZE) UTF-8 ALL", "UID SORT RETURN (MIN MAX) (SUBJECT) UTF-8 ALL", "SORT RETURN () (REVERSE ARRIVAL) UTF-8 1:9", "SORT RETURN (PARTIAL 3:6) (DATE) UTF-8 ALL", "SORT RETURN (PARTIAL 300:600) (DATE) UTF-8 ALL",
		"THREAD ORDEREDSUBJECT UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "THREAD REFS UTF-8 ALL", "UID THREAD REFERENCES UTF-8 NOT 2", "THREAD REFERENCES UTF-8 NOT 1,20,21", "THREAD ORDEREDSUBJECT US-ASCII 5:15", "THREAD REFS UTF-8 1:3,12",
		"THREAD REFERENCES UTF-8 SUBJECT nothing", "THREAD NONE UTF-8 ALL", "THREAD REFERENCES KLINGON ALL",
	)
	script := sortingScript(correspondence, asked)
	theirs := untagged(dovecot(t, nil, script), len(asked))
	mine := untagged(ours(t, nil, script), len(asked))
	for i, q := range asked {
		if mine[i] == "" || mine[i] != theirs[i] {
			t.Errorf("%s\n   ours %s\ntheirs %s", q, mine[i], theirs[i])
		}
	}
}
