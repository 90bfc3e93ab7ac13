package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/server/admin"
	"github.com/mailkeel/mailkeel/server/embedded"
)

// The demo account of a start without -domain and -account where there is no
// other. Its password lies in the directory under the name demoSecret.
const (
	demoDomain  = "example.test"
	demoAddress = "demo@" + demoDomain
	demoSecret  = "demo-password"
)

// populate makes the domains and accounts that o names and that are missing, and
// returns the domains, with those of o first.
func (o *options) populate(ctx context.Context, home *embedded.Home, log *slog.Logger) ([]string, error) {
	have, err := home.Accounts.Domains(ctx)
	if err != nil {
		return nil, err
	}
	domains, people := slices.Clone(o.domains), slices.Clone(o.accounts)
	demo, err := o.wantsDemo(ctx, home, have)
	if err != nil {
		return nil, err
	}
	if demo {
		pw, err := home.Secret(demoSecret, func() []byte { return []byte(admin.NewPassword() + "\n") })
		if err != nil {
			return nil, err
		}
		domains = []string{demoDomain}
		people = []string{demoAddress + ":" + strings.TrimSpace(string(pw))}
	}
	for _, p := range people {
		addr, _, _ := strings.Cut(p, ":")
		domains = append(domains, addr[strings.LastIndexByte(addr, '@')+1:])
	}
	var names []string
	for _, d := range domains {
		name, err := accounts.CanonicalDomain(d)
		if err != nil {
			return nil, fmt.Errorf("-domain %s: %w", d, err)
		}
		if slices.Contains(names, name) {
			continue
		}
		names = append(names, name)
		if slices.ContainsFunc(have, func(h accounts.Domain) bool { return h.Name == name }) {
			continue // with the catch-all that it has
		}
		if err := home.Accounts.PutDomain(ctx, accounts.Domain{Name: name}); err != nil {
			return nil, fmt.Errorf("-domain %s: %w", d, err)
		}
	}
	for _, p := range people {
		addr, pw, _ := strings.Cut(p, ":")
		_, err := home.Accounts.Account(ctx, addr)
		switch {
		case errors.Is(err, accounts.ErrNoUser):
			_, err = home.Accounts.CreateAccount(ctx, accounts.Account{Address: addr}, pw)
		case err == nil && !logsIn(ctx, home, addr, pw):
			log.Warn("-account: it exists and does not log in with this password; that stays so, \"account set -password\" changes it", "account", addr)
		}
		if err != nil {
			return nil, fmt.Errorf("-account %s: %w", addr, err)
		}
	}
	for _, h := range have {
		if !slices.Contains(names, h.Name) {
			names = append(names, h.Name)
		}
	}
	return names, nil
}

// wantsDemo reports whether there is nobody here and nobody was asked for, as on a
// first start, also one that was cut short.
func (o *options) wantsDemo(ctx context.Context, home *embedded.Home, have []accounts.Domain) (bool, error) {
	if len(o.domains) > 0 || len(o.accounts) > 0 || slices.ContainsFunc(have, func(d accounts.Domain) bool { return d.Name != demoDomain }) {
		return false, nil
	}
	for _, err := range home.Accounts.Accounts(ctx, "") {
		return false, err
	}
	return true, nil
}

// demoPassword returns that of the demo account, or "" if there is no such account
// any more or its password was changed.
func demoPassword(ctx context.Context, home *embedded.Home) string {
	pw, err := home.Secret(demoSecret, nil)
	if err != nil || pw == nil {
		return ""
	}
	s := strings.TrimSpace(string(pw))
	if !logsIn(ctx, home, demoAddress, s) {
		return ""
	}
	return s
}

// logsIn reports whether someone can log in with a password.
func logsIn(ctx context.Context, home *embedded.Home, address, password string) bool {
	_, err := home.Accounts.Authenticate(ctx, accounts.Attempt{Login: address, Password: password, Door: "start"})
	return err == nil
}

// hostname is the machine's name if that is a full one, and else mail.DOMAIN.
func hostname(domain string) string {
	return cmp.Or(machine(), "mail."+strings.ToLower(domain))
}

// machine is the machine's name if that is a full one, or "".
func machine() string {
	h, err := os.Hostname()
	if h = strings.ToLower(strings.Trim(h, ".")); err != nil || !strings.Contains(h, ".") {
		return ""
	}
	return h
}
