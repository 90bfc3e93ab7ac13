package webmail

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// status is an error that says only which.
type status int

func (s status) Error() string { return "webmail: " + http.StatusText(int(s)) }

// statusOf is what an error means to who asked.
func statusOf(err error) int {
	var s status
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &s):
		return int(s)
	case errors.Is(err, store.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, store.ErrDenied):
		return http.StatusForbidden
	case errors.Is(err, store.ErrOverQuota):
		return http.StatusInsufficientStorage
	case errors.Is(err, store.ErrExists), errors.Is(err, mailview.ErrKept):
		return http.StatusConflict
	case errors.Is(err, store.ErrLimit), errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, store.ErrInvalid):
		return http.StatusUnprocessableEntity
	case errors.Is(err, accounts.ErrThrottled):
		return http.StatusTooManyRequests
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// errorView is what error.html shows.
type errorView struct {
	Status      int
	Title, Text string
	// SignIn offers to sign in elsewhere and to send once more what was typed.
	SignIn bool
}

// fail answers with a page that says what is wrong and what to do. An error that is
// nobody's fault here is logged, and says nothing to who asked.
func (rq *request) fail(err error) {
	code := statusOf(err)
	if code == http.StatusInternalServerError && rq.ctx().Err() == nil {
		rq.h.log().Error("webmail: cannot answer", "path", rq.r.Pattern, "account", rq.account, "err", err)
	}
	switch code {
	case http.StatusTooManyRequests:
		rq.w.Header().Set("Retry-After", "60")
	case http.StatusServiceUnavailable:
		rq.w.Header().Set("Retry-After", "10")
	}
	title, text := rq.words.orElse("error."+strconv.Itoa(code)+".title", "error.title"), rq.words.orElse("error."+strconv.Itoa(code)+".text", "error.text")
	again := code == http.StatusUnauthorized && rq.rt.changes && rq.h.Session == nil
	if again {
		text = rq.words.t("error.again")
	}
	rq.w.Header().Set("Content-Security-Policy", policies[pagePolicy])
	rq.w.Header().Del("Content-Disposition")
	rq.w.Header().Del("Content-Length")
	if err := rq.show(code, "error", errorView{code, title, text, again}); err != nil {
		rq.h.log().Error("webmail: cannot show an error", "err", err)
		http.Error(rq.w, fmt.Sprintf("%d", code), code)
	}
}

// insecure says that HTTPS is needed, and has no form.
func (rq *request) insecure() error {
	rq.box, rq.session = nil, nil
	return rq.show(http.StatusForbidden, "insecure", nil)
}
