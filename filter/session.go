package filter

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mailkeel/mailkeel"
)

// Session returns a Chain for one connection: it has in the place of each
// SessionFilter the one that this gave for o. A chain without any is returned as
// it is. The door calls end when the connection has ended; it closes what wants to
// be closed.
//
// A filter that gives none could not tell: it is asked at Conn, says so, and is
// not asked again.
func (c *Chain) Session(ctx context.Context, o *mailkeel.Origin) (one *Chain, end func() error) {
	one, end = c, func() error { return nil }
	var closers []io.Closer
	for i, group := range c.Groups {
		for j, f := range group {
			sf, ok := f.(SessionFilter)
			if !ok {
				continue
			}
			if one == c {
				own := *c
				own.Groups = make([][]Filter, len(c.Groups))
				for k, g := range c.Groups {
					own.Groups[k] = append([]Filter(nil), g...)
				}
				one = &own
			}
			s, err := c.open(ctx, sf, f.Name(), o)
			if err != nil {
				one.Groups[i][j] = failed{f.Name(), err}
				continue
			}
			one.Groups[i][j] = s
			if cl, ok := s.(io.Closer); ok {
				closers = append(closers, cl)
			}
		}
	}
	if len(closers) > 0 {
		end = func() error {
			var errs []error
			for _, cl := range closers {
				errs = append(errs, closeOne(cl))
			}
			return errors.Join(errs...)
		}
	}
	return one, end
}

// open asks for a session, and waits no longer than Timeout. One that comes later
// is closed.
func (c *Chain) open(ctx context.Context, sf SessionFilter, name string, o *mailkeel.Origin) (Filter, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ch := start(c, func() (Filter, error) { return sf.NewSession(ctx, o) })
	w := c.waiter()
	defer w.stop()
	a := wait(ctx, w, ch)
	if a.none {
		go func() {
			if cl, ok := (<-ch).v.(io.Closer); ok {
				closeOne(cl)
			}
		}()
	}
	if a.err == nil && a.v == nil {
		a.err = fmt.Errorf("filter: %s gave no session", name)
	}
	return a.v, a.err
}

func closeOne(cl io.Closer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("filter: %T panicked: %v", cl, p)
		}
	}()
	return cl.Close()
}

// failed stands in for a filter that gave no session.
type failed struct {
	name string
	err  error
}

func (f failed) Name() string { return f.name }
func (f failed) FilterConn(context.Context, *Transaction) (Verdict, error) {
	return Verdict{}, f.err
}
