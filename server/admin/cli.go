package admin

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/control"
)

// A CLI is the commands as sub-commands of a program. Socket and Open are
// required.
type CLI struct {
	// Program is what the program is called; empty means "mailkeel".
	Program string
	// Dir is where the server keeps things if nobody says -dir, and JSON is
	// what holds without -json.
	Dir  string
	JSON bool
	// Socket returns where the server of a directory offers its commands.
	Socket func(dir string) string
	// Open opens a directory that no server runs in; the function that it
	// returns closes it. An error that InUse knows means that one runs.
	Open  func(ctx context.Context, dir string) (*Admin, func() error, error)
	InUse func(error) bool
	// Hint, if set, says what to do about another error of Open, or nothing.
	Hint func(error) string
	// Wait is how long to try to reach a server that starts or stops at this
	// moment; zero means 10 s.
	Wait  time.Duration
	Clock mailkeel.Clock // nil means real time
}

// Has reports whether a word begins a sub-command.
func (c *CLI) Has(word string) bool {
	return slices.ContainsFunc(commands, func(x command) bool { return x.group() == word })
}

func (x *command) group() string {
	g, _, _ := strings.Cut(x.name, " ")
	return g
}

// Run carries out args, "account", "list", and returns the exit code: 0, 1 if it
// failed, 2 if it was not understood. With -json every row is one line of JSON on
// stdout, and an error is one on stderr: {"error":{"text":...,"hint":...}}.
func (c *CLI) Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if askedHelp(args) {
		fmt.Fprintf(stdout, "Commands of %s; each has -h, -dir and -json:\n\n", c.program())
		group := ""
		if len(args) > 0 && c.Has(args[0]) {
			group = args[0]
		}
		c.list(stdout, group)
		return 0
	}
	asJSON := c.JSON
	err := c.run(ctx, args, &asJSON, stdin, stdout)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var e *control.Error
	if !errors.As(err, &e) {
		e = &control.Error{Text: err.Error()}
	}
	if asJSON {
		json.NewEncoder(stderr).Encode(map[string]any{"error": e})
	} else {
		fmt.Fprintf(stderr, "%s: %s\n", c.program(), e.Text)
		if e.Hint != "" {
			fmt.Fprintf(stderr, "  %s\n", e.Hint)
		}
	}
	switch {
	case e.Code != 0:
		return e.Code
	case e.Usage:
		return 2
	case len(args) > 0 && args[0] == "check": // it did not get that far
		return checkFailed
	}
	return 1
}

func (c *CLI) program() string {
	if c.Program == "" {
		return "mailkeel"
	}
	return c.Program
}

func (c *CLI) run(ctx context.Context, args []string, asJSON *bool, stdin io.Reader, stdout io.Writer) error {
	cmd, words, err := find(args)
	if err != nil {
		return err
	}
	rest := args[words:]
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	dir := fs.String("dir", c.Dir, "the `directory` of the server")
	fs.BoolVar(asJSON, "json", *asJSON, "one JSON object a line, for programs")
	finish := cmd.parse(fs)
	in := &input{stdin: stdin}
	for { // flags may stand before and after the other words
		if err := fs.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				c.helpOn(stdout, cmd, fs)
				return err
			}
			return control.Usagef("%v; %s %s -h shows its flags", err, c.program(), cmd.name)
		}
		if fs.NArg() == 0 {
			break
		}
		at := len(rest) - fs.NArg()
		if at > 0 && rest[at-1] == "--" {
			in.args = append(in.args, rest[at:]...)
			break
		}
		in.args, rest = append(in.args, rest[at]), rest[at+1:]
	}
	made, err := finish(in)
	if err != nil {
		var e *control.Error
		if errors.As(err, &e) && e.Usage && e.Hint == "" {
			e.Hint = strings.TrimSpace(fmt.Sprintf("usage: %s %s [flags] %s", c.program(), cmd.name, cmd.args))
		}
		return err
	}
	show := cmd.show(stdout)
	row := show.row
	if *asJSON {
		row = func(raw json.RawMessage) error {
			_, err := fmt.Fprintf(stdout, "%s\n", raw)
			return err
		}
	}
	err = c.do(ctx, *dir, cmd.name, made, row)
	if *asJSON {
		return err
	}
	return errors.Join(err, showEnd(show, err))
}

// showEnd flushes what was shown; "nothing there" is said only if that is so.
func showEnd(s shower, err error) error {
	if t, ok := s.(*table); ok && err != nil {
		t.none = ""
	}
	return s.end()
}

// find returns the command that args begin with, and how many words it has.
func find(args []string) (*command, int, error) {
	var verbs []string
	for i := range commands {
		x := &commands[i]
		group, verb, two := strings.Cut(x.name, " ")
		switch {
		case group != args[0]:
		case !two:
			return x, 1, nil
		case len(args) > 1 && args[1] == verb:
			return x, 2, nil
		default:
			verbs = append(verbs, verb)
		}
	}
	switch {
	case verbs == nil:
		return nil, 0, control.Usagef("there is no command %q", args[0])
	case len(args) > 1 && !strings.HasPrefix(args[1], "-"):
		return nil, 0, control.Usagef("%s has no %q, only: %s", args[0], args[1], strings.Join(verbs, ", "))
	}
	return nil, 0, control.Usagef("%s needs one of: %s", args[0], strings.Join(verbs, ", "))
}

// askedHelp reports whether args ask for help before a verb.
func askedHelp(args []string) bool {
	if len(args) > 0 {
		if _, words, err := find(args); err == nil && words == 1 {
			return false
		}
	}
	return len(args) == 0 || len(args) > 1 && slices.Contains([]string{"-h", "-help", "--help", "help"}, args[1])
}

// do asks the server of dir, or does it in this process when none runs.
func (c *CLI) do(ctx context.Context, dir, command string, args any, row func(json.RawMessage) error) error {
	wait := c.Wait
	if wait <= 0 {
		wait = 10 * time.Second
	}
	clock := mailkeel.ClockOr(c.Clock)
	until := clock.Now().Add(wait)
	for {
		// The lock of the directory decides, so that two never write.
		a, closeAll, err := c.Open(ctx, dir)
		if err == nil {
			return errors.Join(c.here(ctx, a, command, args, row), closeAll())
		}
		if c.InUse == nil || !c.InUse(err) {
			if c.Hint != nil {
				return fail(err.Error(), c.Hint(err))
			}
			return err
		}
		client, dialErr := control.Dial(ctx, c.Socket(dir))
		if dialErr == nil {
			defer client.Close()
			return client.Do(ctx, command, args, row)
		}
		// Someone starts, stops or runs a command without a server.
		if !clock.Now().Before(until) {
			return fail(fmt.Sprintf("%v, which does not answer", err), "it takes no commands at "+c.Socket(dir)+", or it hangs: stop it and try again")
		}
		t := clock.NewTimer(50 * time.Millisecond)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// here carries a command out in this process, with the same form of rows.
func (c *CLI) here(ctx context.Context, a *Admin, command string, args any, row func(json.RawMessage) error) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	return a.Do(ctx, command, raw, func(r any) error {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return row(b)
	})
}

// Help writes a list of the sub-commands.
func (c *CLI) Help(w io.Writer) { c.list(w, "") }

// list writes those of a group, or all.
func (c *CLI) list(w io.Writer, group string) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, x := range commands {
		if group != "" && x.group() != group {
			continue
		}
		fmt.Fprintf(t, "  %s\t%s\n", strings.TrimSpace(x.name+" "+x.args), x.help)
	}
	t.Flush()
}

// helpOn answers -h of a command.
func (c *CLI) helpOn(w io.Writer, cmd *command, fs *flag.FlagSet) {
	fmt.Fprintf(w, "usage: %s %s\n%s\n\n", c.program(), strings.TrimSpace(cmd.name+" [flags] "+cmd.args), cmd.help)
	fs.SetOutput(w)
	fs.PrintDefaults()
	fmt.Fprintf(w, `
With -json, standard output has one object a line, with
  %s
What is empty is left out where it says "?". Sizes are in bytes, times as in RFC 3339.
An error is one object on standard error, {"error":{"text","hint"?,"usage"?}}.
The exit code is 0, 1 if it failed, 2 if the command was not understood.
`, cmd.json)
}
