package webmail

import (
	"errors"
	"net/http"
	"slices"

	"github.com/mailkeel/mailkeel/accounts"
)

// door is the name of this door in accounts.Attempt and in the Scopes of a Login.
const door = "webmail"

const (
	maxLogin    = 320  // bytes
	maxPassword = 1024 // bytes
)

// signInView is what signin.html shows.
type signInView struct {
	Login   string // as it was typed
	Problem string
}

func (rq *request) home() error {
	inbox, err := rq.box.RoleFolder(rq.ctx(), "inbox")
	if err != nil {
		return err
	}
	return rq.redirect(folderPath(inbox.ID))
}

func (rq *request) signInPage() error {
	if rq.box != nil {
		return rq.redirect("/")
	}
	return rq.show(http.StatusOK, "signin", signInView{})
}

func (rq *request) signIn() error {
	login, password := rq.value("login"), rq.form.Get("password")
	a := accounts.Attempt{Login: login, Password: password, Addr: rq.h.client(rq.r), Door: door, TLS: rq.h.https(rq.r)}
	var who accounts.Login
	err := accounts.ErrBadCredentials
	if login != "" && len(login) <= maxLogin && password != "" && len(password) <= maxPassword {
		who, err = rq.h.Auth.Authenticate(rq.ctx(), a)
	}
	if err == nil && len(who.Scopes) > 0 && !slices.Contains(who.Scopes, door) {
		err = accounts.ErrBadCredentials // an app password for something else
	}
	view := signInView{Login: login}
	switch {
	case errors.Is(err, accounts.ErrBadCredentials):
		rq.box, rq.session = nil, nil
		view.Problem = rq.words.t("signin.wrong")
		return rq.show(http.StatusForbidden, "signin", view)
	case errors.Is(err, accounts.ErrThrottled):
		rq.box, rq.session = nil, nil
		rq.w.Header().Set("Retry-After", "60")
		view.Problem = rq.words.t("signin.throttled")
		return rq.show(http.StatusTooManyRequests, "signin", view)
	case err != nil:
		return err
	}
	address, err := accounts.Canonical(login)
	if err != nil {
		address = login
	}
	if err := rq.h.begin(rq.w, rq.r, who.Account, address, false); err != nil {
		return err
	}
	rq.h.log().Info("webmail: signed in", "account", who.Account, "addr", a.Addr)
	return rq.redirect("/")
}

func (rq *request) signOut() error {
	if err := rq.h.end(rq.w, rq.r); err != nil {
		return err
	}
	rq.w.Header().Set("Clear-Site-Data", `"cache"`)
	return rq.redirect("/signin", "done", "signedout")
}
