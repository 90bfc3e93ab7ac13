package imap

import (
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// store is STORE and UID STORE (RFC 9051, 6.4.6), perhaps of what has not changed
// since (RFC 7162, 3.1.3).
func (c *conn) store(cmd *command) error {
	cmd.sp()
	set := cmd.numSet(cmd.uid)
	cmd.sp()
	var change store.FlagChange
	if cmd.peek() == '(' {
		change.UnchangedSince = cmd.unchangedSince()
		cmd.sp()
	}
	op, silent := cmd.storeOp()
	cmd.sp()
	flags := cmd.storeFlags()
	if err := cmd.end(); err != nil {
		return err
	}
	if change.UnchangedSince != nil {
		c.enableCondstore()
	}
	if err := c.writable(); err != nil {
		return err
	}
	spans, err := c.sel.resolve(set)
	if err != nil || len(spans) == 0 {
		return err
	}
	switch op {
	case imap.StoreFlagsSet:
		change.Replace, change.Add = true, flags
	case imap.StoreFlagsAdd:
		change.Add = flags
	case imap.StoreFlagsDel:
		change.Remove = flags
	}
	is, err := c.storeKnown(change, spans)
	if !errors.Is(err, store.ErrStale) {
		if err != nil {
			return err
		}
		return c.stored(cmd, &storing{change, silent, spans, nil}, is)
	}
	changed, failed, err := c.access.SetFlags(c.ctx, c.sel.id, change, c.sel.snap.uids(spans)...)
	if err != nil {
		return err
	}
	is, err = c.sel.view.refresh(c.ctx)
	if err != nil { // it is done, whatever can be read now
		is = c.sel.snap.with(changed)
	} else if len(failed) > 0 {
		is, failed = c.storeAgain(change, is, failed)
	}
	return c.stored(cmd, &storing{change, silent, spans, failed}, is)
}

// A storing is a STORE that is done.
type storing struct {
	store.FlagChange
	silent bool
	spans  []span
	failed []store.UID // changed since, in order
}

// stored tells what came of a STORE: is is what there is now.
func (c *conn) stored(cmd *command, s *storing, is *snapshot) error {
	gone := false
	var failed rangeWriter
	var told []change
	steps := flagSteps{}
	for seq, was := range c.sel.snap.all(s.spans) {
		r, ok := is.get(was.uid)
		if !ok {
			gone = true
			continue
		}
		quiet := s.silent
		if i, bad := slices.BinarySearch(s.failed, r.uid); bad {
			s.failed = s.failed[i+1:]
			if cmd.uid {
				failed.add(r.uid)
			} else {
				failed.add(store.UID(seq))
			}
			quiet = false // RFC 7162 recommends to say why
		} else if quiet && !steps.expects(flagStep{was.flags, r.flags}, &s.FlagChange) {
			// Somebody else has changed it. Of that the client hears even
			// after .SILENT (RFC 9051, 6.4.6), if not here.
			if quiet = false; !c.condstore {
				continue
			}
		}
		switch {
		case !quiet:
			c.fetchFlags(seq, r, cmd.uid, true)
		case c.condstore && (r.modSeq != was.modSeq || s.UnchangedSince != nil):
			c.fetchFlags(seq, r, cmd.uid, false)
		}
		if r != was {
			told = append(told, change{row: r})
		}
	}
	if len(told) > 0 {
		c.sel.snap = c.sel.snap.apply(told)
	}
	code := ""
	if set := failed.String(); set != "" {
		code = "MODIFIED " + set
	}
	switch {
	case gone && !cmd.uid && code != "":
		return no(imap.ResponseCode(code), "Some messages have gone, and some have changed")
	case gone && !cmd.uid:
		return errGone
	case code != "":
		cmd.code, cmd.text = code, "Conditional STORE failed"
	}
	return nil
}

// leadsTo reports whether change makes flags of was.
func leadsTo(was flagSet, change *store.FlagChange, flags []string) bool {
	has := func(list []string, f string) bool {
		return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, f) })
	}
	var want []string
	if !change.Replace {
		want = slices.DeleteFunc(strings.Fields(was.Value()), func(f string) bool { return has(change.Remove, f) })
	}
	for _, f := range change.Add {
		if !has(want, f) {
			want = append(want, f)
		}
	}
	return len(want) == len(flags) && !slices.ContainsFunc(want, func(f string) bool { return !has(flags, f) })
}

// A flagStep is flags that a client was told and those that a message has now.
type flagStep struct{ was, is flagSet }

// flagSteps remembers which of them a STORE explains: messages have few different
// ones.
type flagSteps map[flagStep]bool

// expects reports whether the flags are what the client makes them by what it was
// told and by its STORE.
func (known flagSteps) expects(k flagStep, c *store.FlagChange) bool {
	right, seen := known[k]
	if !seen {
		right = leadsTo(k.was, c, strings.Fields(k.is.Value()))
		known[k] = right
	}
	return right
}

// unchangedSince reads the modifiers of STORE.
func (p *parser) unchangedSince() (since *store.ModSeq) {
	p.list(func() {
		if since != nil || !p.word("UNCHANGEDSINCE") {
			p.fail("expected UNCHANGEDSINCE")
			return
		}
		p.sp()
		n := p.modSeqValue()
		since = &n
	})
	if since == nil {
		p.fail("expected UNCHANGEDSINCE")
	}
	return since
}

// storeOp reads what to do with flags: FLAGS, +FLAGS or -FLAGS, perhaps .SILENT.
func (p *parser) storeOp() (op imap.StoreFlagsOp, silent bool) {
	word := p.keyword()
	word, silent = strings.CutSuffix(word, ".SILENT")
	switch word {
	case "FLAGS":
		return imap.StoreFlagsSet, silent
	case "+FLAGS":
		return imap.StoreFlagsAdd, silent
	case "-FLAGS":
		return imap.StoreFlagsDel, silent
	}
	p.fail("unknown data item")
	return 0, false
}

// storeFlags reads a list of flags, or flags without parentheses.
func (p *parser) storeFlags() (flags []string) {
	if p.peek() == '(' {
		return p.flags()
	}
	for p.ok() && len(flags) < maxFlags {
		flags = append(flags, p.flag())
		if !p.more() {
			break
		}
	}
	return flags
}
