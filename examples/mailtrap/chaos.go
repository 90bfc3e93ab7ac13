package main

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/mailkeel/mailkeel/mailtest"
)

// A trigger is one of Mailpit's chaos: how likely an error is, in percent.
type trigger struct{ ErrorCode, Probability int }

// chaos is what PUT /api/v1/chaos sets.
type chaos struct {
	mu     sync.Mutex
	srv    *mailtest.Server
	now    map[string]trigger
	active []*mailtest.Active
	script []*mailtest.Active
	lines  []string
}

// triggers are those of Mailpit with the points that they are for.
var triggers = [...]struct {
	name  string
	point mailtest.Point
}{{"Sender", mailtest.Mail}, {"Recipient", mailtest.Rcpt}, {"Authentication", mailtest.Auth}}

func (c *chaos) start(srv *mailtest.Server) {
	c.srv = srv
	c.set(map[string]trigger{})
}

// set replaces the triggers; one that is not named is off.
func (c *chaos) set(in map[string]trigger) error {
	for name, tr := range in {
		if tr.Probability < 0 || tr.Probability > 100 || tr.Probability > 0 && (tr.ErrorCode < 400 || tr.ErrorCode > 599) {
			return fmt.Errorf("%s: ErrorCode is 400 to 599, and Probability 0 to 100", name)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.active {
		a.Stop()
	}
	c.active, c.now = nil, map[string]trigger{}
	for _, t := range triggers {
		tr := in[t.name]
		if tr.ErrorCode == 0 {
			tr.ErrorCode = 451
		}
		c.now[t.name] = tr
		if tr.Probability > 0 {
			f := mailtest.At(t.point).Chance(tr.Probability).Reply(fmt.Sprintf("%d %d.3.0 chaos", tr.ErrorCode, tr.ErrorCode/100))
			c.active = append(c.active, c.srv.Fail(f))
		}
	}
	return nil
}

func (t *trap) getChaos(w http.ResponseWriter, _ *http.Request) error {
	t.chaos.mu.Lock()
	defer t.chaos.mu.Unlock()
	return answer(w, 200, t.chaos.now)
}

func (t *trap) putChaos(w http.ResponseWriter, r *http.Request) error {
	var in map[string]trigger
	if err := body(r, &in); err != nil {
		return err
	}
	if err := t.chaos.set(in); err != nil {
		return err
	}
	return t.getChaos(w, r)
}

// getFaults tells the faults of the script.
func (t *trap) getFaults(w http.ResponseWriter, _ *http.Request) error {
	t.chaos.mu.Lock()
	defer t.chaos.mu.Unlock()
	type fault struct {
		Fault string
		Hits  int
	}
	out := []fault{}
	for i, a := range t.chaos.script {
		out = append(out, fault{t.chaos.lines[i], a.Hits()})
	}
	return answer(w, 200, out)
}

// putFaults takes a script, which replaces the last one: see mailtest.ParseFaults.
func (t *trap) putFaults(w http.ResponseWriter, r *http.Request) error {
	all, err := mailtest.ParseFaults(r.Body)
	if err != nil {
		return err
	}
	t.chaos.mu.Lock()
	for _, a := range t.chaos.script {
		a.Stop()
	}
	t.chaos.script, t.chaos.lines = nil, nil
	for _, f := range all {
		t.chaos.script = append(t.chaos.script, t.srv.Fail(f))
		t.chaos.lines = append(t.chaos.lines, f.String())
	}
	t.chaos.mu.Unlock()
	return t.getFaults(w, r)
}
