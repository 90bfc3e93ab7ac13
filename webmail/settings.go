package webmail

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// settingsView is what settings.html shows.
type settingsView struct {
	mailview.Settings
	Sizes           []int
	Password        bool // it can be changed here
	Problem         string
	PasswordProblem string
	Field           string // where that is: "old", "new", "again", or empty
}

var pageSizes = []int{25, 50, 100, 200}

func (rq *request) setter() (accounts.PasswordSetter, bool) {
	if rq.h.Session != nil || !accounts.HasPasswords(rq.h.Auth) {
		return nil, false
	}
	p, ok := rq.h.Auth.(accounts.PasswordSetter)
	return p, ok
}

func (rq *request) settingsPage() error {
	return rq.showSettings(http.StatusOK, settingsView{Settings: rq.settings})
}

func (rq *request) showSettings(code int, v settingsView) error {
	_, v.Password = rq.setter()
	v.Sizes = pageSizes
	return rq.show(code, "settings", v)
}

// settingsSave keeps them.
func (rq *request) settingsSave() error {
	s := rq.settings
	s.Name, s.Signature = rq.value("name"), strings.TrimRight(lines(rq.form.Get("signature")), "\n ")
	s.Language, s.Theme = rq.form.Get("language"), rq.form.Get("theme")
	s.PageSize, _ = strconv.Atoi(rq.form.Get("page-size"))
	s.Remote = rq.form.Get("remote") != ""
	if s.Language != "" && rq.h.look.wordsOf(s.Language) == nil || s.PageSize < 0 || s.PageSize > mailview.MaxLimit {
		return status(http.StatusBadRequest)
	}
	switch err := rq.box.SetSettings(rq.ctx(), s); {
	case errors.Is(err, store.ErrInvalid):
		return rq.showSettings(http.StatusUnprocessableEntity, settingsView{Settings: s, Problem: rq.words.t("settings.invalid")})
	case err != nil:
		return err
	}
	return rq.redirect("/settings", "done", "settings")
}

// password changes it. All sessions end but this one, which gets a new token.
func (rq *request) password() error {
	set, ok := rq.setter()
	if !ok {
		return status(http.StatusNotFound)
	}
	old, fresh := rq.form.Get("old"), rq.form.Get("new")
	v := settingsView{Settings: rq.settings}
	a := accounts.Attempt{Login: rq.session.Login, Password: old, Addr: rq.h.client(rq.r), Door: door, TLS: rq.h.https(rq.r)}
	code := http.StatusUnprocessableEntity
	err := accounts.ErrBadCredentials
	switch {
	case len(fresh) > maxPassword:
		err = accounts.ErrWeakPassword
	case fresh != rq.form.Get("again"):
		v.PasswordProblem, v.Field = rq.words.t("password.differ"), "again"
		return rq.showSettings(code, v)
	case old != "" && len(old) <= maxPassword:
		err = set.SetPassword(rq.ctx(), a, fresh)
	}
	switch {
	case errors.Is(err, accounts.ErrBadCredentials):
		v.PasswordProblem, v.Field = rq.words.t("password.wrong"), "old"
	case errors.Is(err, accounts.ErrWeakPassword):
		v.PasswordProblem, v.Field = rq.words.t("password.weak"), "new"
	case errors.Is(err, accounts.ErrThrottled):
		v.PasswordProblem, code = rq.words.t("signin.throttled"), http.StatusTooManyRequests
		rq.w.Header().Set("Retry-After", "60")
	case err != nil:
		return err
	default:
		if err := rq.h.begin(rq.w, rq.r, rq.account, rq.session.Login, true); err != nil {
			return err
		}
		return rq.redirect("/settings", "done", "password")
	}
	return rq.showSettings(code, v)
}
