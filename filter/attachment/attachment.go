// Package attachment is a filter that refuses attachments which are programs, by their
// names and types: what the large providers refuse too.
//
// A sender can write a name in so many ways that programs differ in what they read:
// RFC 2231 in pieces or whole, encoded words, two names in two fields. The filter judges
// every name that a program may find, beside the one that IMAP and webmail show. A name
// is bad for its last extension, after what a desktop drops from its end, and so is one
// whose text runs backwards. Parts of messages inside the message count as its own.
//
// It looks into no archive and no document: that is for a scanner.
package attachment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/internal/message"
)

// Filter is a filter.Filter. The zero value refuses programs.
type Filter struct {
	// Extensions are those that are refused, in lower case without the dot; nil means
	// Programs.
	Extensions []string
	// Types are the content types that are refused, in lower case; nil means
	// ProgramTypes.
	Types []string
	// JunkExtensions and JunkTypes are those that only make a message junk; nil means
	// none.
	JunkExtensions, JunkTypes []string
	// Mode Mark files in Junk what is else refused; Log only tells. Zero means refuse.
	Mode filter.Mode
	// Score is what a bad attachment adds; zero means 5.
	Score float64
}

var _ filter.MessageFilter = (*Filter)(nil)

// Name is "x-attachment".
func (f *Filter) Name() string { return "x-attachment" }

// The most that is looked at of messages that are encoded inside a message, which they
// may not be (RFC 2046, 5.2.1), and which some programs open none the less.
const (
	maxInside = 20 // in all
	maxNested = 4  // one in the other
)

// FilterMessage reads the whole message once.
func (f *Filter) FilterMessage(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	if t.Content == nil {
		return filter.Verdict{}, nil
	}
	l := look{f: f}
	if err := l.message(ctx, t.Content.Open, 0); err != nil {
		return filter.Verdict{}, fmt.Errorf("attachment: %w", err)
	}
	var v filter.Verdict
	bad := l.bad
	if bad == "" {
		bad = l.junk
	}
	if bad == "" {
		return v, nil
	}
	v.Score, v.Why = f.Score, "attachment "+bad
	if v.Score == 0 {
		v.Score = 5
	}
	if l.bad == "" {
		v.Junk = true
		return f.Mode.Limit(v), nil
	}
	v.Refuse = &mailkeel.Error{Code: 554, Enhanced: [3]int{5, 7, 1}, Message: "message refused: attachment " + bad}
	return f.Mode.Limit(v), nil
}

// A look is at one message and those inside it.
type look struct {
	f         *Filter
	bad, junk string // what was found first
	inside    int    // encoded messages that were looked into
}

type opener = func(context.Context) (io.ReadCloser, error)

// message looks at a message that open gives.
func (l *look) message(ctx context.Context, open opener, nested int) error {
	rc, err := open(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()
	m, whole, err := message.ParseNames(&reader{ctx, rc}, l.part)
	if err != nil {
		return err
	}
	if !whole {
		l.note(&l.bad, "that cannot be told: the message has too many parts, or fields that are too long")
	}
	return l.encoded(ctx, open, &m.Root, nested)
}

// encoded looks into the messages below a part that are in a transfer encoding.
func (l *look) encoded(ctx context.Context, open opener, p *message.Part, nested int) error {
	for i := range p.Parts {
		if err := l.encoded(ctx, open, &p.Parts[i], nested); err != nil {
			return err
		}
	}
	if len(p.Parts) > 0 || p.Type != "message" || p.Subtype != "rfc822" && p.Subtype != "global" || l.bad != "" {
		return nil
	}
	if l.inside++; l.inside > maxInside || nested >= maxNested {
		l.note(&l.bad, "that cannot be told: there are too many messages inside the message")
		return nil
	}
	part := *p
	return l.message(ctx, func(ctx context.Context) (io.ReadCloser, error) {
		rc, err := open(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := io.CopyN(io.Discard, rc, part.BodyStart); err != nil {
			return nil, errors.Join(err, rc.Close())
		}
		return struct {
			io.Reader
			io.Closer
		}{part.Reader(io.LimitReader(rc, part.End-part.BodyStart)), rc}, nil
	}, nested+1)
}

// part judges the names and types of a part.
func (l *look) part(p *message.Part, names, types []string) {
	if l.bad != "" {
		return
	}
	exts, kinds := l.f.Extensions, l.f.Types
	if exts == nil {
		exts = programs
	}
	if kinds == nil {
		kinds = programTypes
	}
	shown := shownName(p)
	for _, name := range names {
		why, bad := judge(name, exts)
		if bad {
			l.note(&l.bad, say(shown, name)+why)
		} else if why, bad := judge(name, l.f.JunkExtensions); bad {
			l.note(&l.junk, say(shown, name)+why)
		}
	}
	for _, t := range types {
		if has(kinds, t) {
			l.note(&l.bad, fmt.Sprintf("%sof type %.60q", say(shown, ""), t))
		} else if has(l.f.JunkTypes, t) {
			l.note(&l.junk, fmt.Sprintf("%sof type %.60q", say(shown, ""), t))
		}
	}
}

// shownName is the name of a part that people see, in IMAP and in webmail; empty without
// one.
func shownName(p *message.Part) string {
	for _, params := range []struct {
		of   []message.Param
		name string
	}{{p.DispositionParams, "filename"}, {p.Params, "name"}} {
		for _, a := range params.of {
			if a.Name == params.name && strings.TrimSpace(a.Value) != "" {
				return a.Value
			}
		}
	}
	return ""
}

// say names an attachment as it is shown, and also as it was judged if that differs.
func say(shown, name string) string {
	switch {
	case shown == "" && name == "":
		return ""
	case name == "" || shown == name:
		return fmt.Sprintf("%.60q ", shown)
	case shown == "":
		return fmt.Sprintf("%.60q ", name)
	}
	return fmt.Sprintf("%.60q, also called %.60q, ", shown, name)
}

func (l *look) note(to *string, what string) {
	if *to == "" {
		*to = strings.TrimSpace(what)
	}
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}
