package submit

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
)

// resolve returns what the recipients stand for, with the mailboxes of ours among
// them, and for which recipients each is there. Who cannot be resolved has a result
// in rs. What comes up twice is there once.
func (t *Transport) resolve(ctx context.Context, rcpts []mailkeel.Recipient, rs []mailkeel.Result) (to []mailkeel.Recipient, of [][]int) {
	next := 0
	for _, r := range rcpts {
		next = max(next, r.Index+1)
	}
	type target struct {
		account       mailkeel.AccountID
		addr, mailbox string
	}
	at := map[target]int{}
	add := func(r mailkeel.Recipient, i int) {
		k := target{r.Account, "", r.Mailbox}
		if r.Account == "" {
			k.addr = lowerDomain(r.Addr)
		}
		j, ok := at[k]
		if !ok {
			j = len(to)
			at[k] = j
			to, of = append(to, r), append(of, nil)
		}
		of[j] = append(of[j], i)
	}
	for i, r := range rcpts {
		if r.Account != "" {
			add(r, i)
			continue
		}
		res, err := t.Directory.Resolve(ctx, r.Addr)
		switch {
		case errors.Is(err, accounts.ErrNotLocal):
			add(r, i)
			continue
		case errors.Is(err, accounts.ErrNoUser):
			err = &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 1, 1}, Message: "no such user", Err: err}
		}
		if err != nil {
			rs[i].Err = err
			continue
		}
		given := cmp.Or(r.Given, r.Addr)
		for j, target := range res.Targets {
			x := r
			x.Addr, x.Given, x.Account, x.Mailbox = target.Addr, given, target.Account, target.Mailbox
			if j > 0 {
				x.Index = next
				next++
			}
			add(x, i)
		}
	}
	return to, of
}

// lowerDomain lowers the case of an address's domain.
func lowerDomain(a string) string {
	at := strings.LastIndexByte(a, '@')
	return a[:at+1] + strings.ToLower(a[at+1:])
}
