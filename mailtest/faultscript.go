package mailtest

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// ParseFaults reads faults from a script, one a line; empty lines and those that
// begin with # are passed over:
//
//	at RCPT to=ann@example.test times=2 reply 451 4.3.0 try again later
//	at CONNECT door=imap drop
//	at CONTENT skip=1 stall
//	at BYTES after=1000 drop
//	at FETCH account=ann@example.test slow 2s
//	at HANDSHAKE expired
//	greylist 5m
//	size 10000
//	rate 5 1m
//
// Points, conditions and actions are those of Fault, in its words.
func ParseFaults(r io.Reader) (all []Fault, err error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f, err := parseFault(line)
		if err != nil {
			return nil, fmt.Errorf("mailtest: line %d: %w", n, err)
		}
		all = append(all, f)
	}
	return all, lines.Err()
}

func parseFault(line string) (f Fault, err error) {
	word, rest, _ := strings.Cut(line, " ")
	words := strings.Fields(rest)
	switch {
	case word == "greylist" && len(words) == 1:
		d, err := time.ParseDuration(words[0])
		return Greylist(d), err
	case word == "size" && len(words) == 1:
		n, err := strconv.ParseInt(words[0], 10, 64)
		return SizeLimit(n), err
	case word == "rate" && len(words) == 2:
		n, err := strconv.Atoi(words[0])
		if err != nil {
			return f, err
		}
		d, err := time.ParseDuration(words[1])
		return RateLimit(n, d), err
	case word != "at" || len(words) < 2:
		return f, fmt.Errorf("%q is not of the form: at POINT conditions action", line)
	}
	point, rest, _ := strings.Cut(strings.TrimSpace(rest), " ")
	f = At(Point(point))
	for {
		rest = strings.TrimSpace(rest)
		word, more, _ := strings.Cut(rest, " ")
		key, value, condition := strings.Cut(word, "=")
		if !condition {
			return parseAction(f, word, strings.TrimSpace(more))
		}
		if err := f.condition(key, value); err != nil {
			return f, err
		}
		rest = more
	}
}

func (f *Fault) condition(key, value string) (err error) {
	switch key {
	case "door":
		f.door = value
	case "to":
		f.to = value
	case "from":
		f.from = value
	case "account":
		f.who = value
	case "skip":
		f.skip, err = strconv.Atoi(value)
	case "chance":
		f.chance, err = strconv.Atoi(value)
	case "times":
		f.times, err = strconv.Atoi(value)
	case "after":
		n := int64(0)
		if n, err = strconv.ParseInt(value, 10, 64); err == nil {
			*f = f.After(n)
		}
	case "delay":
		f.delay, err = time.ParseDuration(value)
	default:
		err = fmt.Errorf("there is no condition %q", key)
	}
	return err
}

func parseAction(f Fault, word, rest string) (Fault, error) {
	switch a := action(word); {
	case a == reply && rest != "":
		return f.Reply(rest), nil
	case a == slow:
		d, err := time.ParseDuration(rest)
		return f.Slow(d), err
	case rest != "":
	case a == drop:
		return f.Drop(), nil
	case a == garbage:
		return f.Garbage(), nil
	case a == stall:
		return f.Stall(), nil
	case a == badName:
		return f.WrongName(), nil
	case a == expired:
		return f.Expired(), nil
	}
	return f, fmt.Errorf("there is no action %q", strings.TrimSpace(word+" "+rest))
}
