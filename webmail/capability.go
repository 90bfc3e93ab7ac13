package webmail

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel"
)

// A capability is a word in a URL that lets its bearer do one thing. There are two:
// showing remote content of one message, which a link in a mail must not do; and
// fetching one inline image, for the frame around a message has no origin and so
// sends no cookie.

// grantFor is how long an image may be fetched: as long as a page stands open.
const grantFor = 12 * time.Hour

// secret returns what capabilities are made with: that of all processes over the KV.
func (h *Handler) secret(ctx context.Context) ([]byte, error) {
	key, err := h.peek(ctx, "web-secret")
	if key != nil || err != nil {
		return key, err
	}
	err = h.kv.Update(ctx, "web-secret", 365*24*time.Hour, func(old []byte) ([]byte, error) {
		if old == nil {
			old = []byte(token())
			key = old
			return old, nil
		}
		key = old
		return nil, errUnchanged
	})
	return key, notUnchanged(err)
}

func sign(secret []byte, parts ...string) string {
	m := hmac.New(sha256.New, secret)
	for _, p := range parts {
		m.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:18])
}

// remoteKey lets remote content of a message be shown to one account.
func (rq *request) remoteKey(at messageAt) (string, error) {
	secret, err := rq.h.secret(rq.ctx())
	return sign(secret, "remote", string(rq.account), at.String()), err
}

// mayRemote reports whether the request has that key.
func (rq *request) mayRemote(at messageAt) (bool, error) {
	got := rq.r.URL.Query().Get("remote")
	if got == "" {
		return false, nil
	}
	want, err := rq.remoteKey(at)
	return err == nil && hmac.Equal([]byte(got), []byte(want)), err
}

// imageKeys returns a function that makes the key for one inline image. It names the
// session, and the image goes when that ends.
func (rq *request) imageKeys(at messageAt) (func(cid string) string, error) {
	secret, err := rq.h.secret(rq.ctx())
	until := strconv.FormatInt(rq.h.now().Add(grantFor).Unix(), 36)
	who := "a" + base64.RawURLEncoding.EncodeToString([]byte(rq.account))
	if rq.session != nil {
		who = "s" + strings.TrimPrefix(rq.session.key, sessionPrefix)
	}
	return func(cid string) string {
		return until + "." + who + "." + sign(secret, "image", who, until, at.String(), cid)
	}, err
}

// imageOf returns whose image a key is for, or false.
func (h *Handler) imageOf(ctx context.Context, key string, at messageAt, cid string) (mailkeel.AccountID, bool, error) {
	until, rest, _ := strings.Cut(key, ".")
	who, mac, _ := strings.Cut(rest, ".")
	secret, err := h.secret(ctx)
	if err != nil || who == "" || !hmac.Equal([]byte(mac), []byte(sign(secret, "image", who, until, at.String(), cid))) {
		return "", false, err
	}
	if end, err := strconv.ParseInt(until, 36, 64); err != nil || h.now().Unix() > end {
		return "", false, nil
	}
	if who[0] == 'a' && h.Session != nil {
		id, err := base64.RawURLEncoding.DecodeString(who[1:])
		return mailkeel.AccountID(id), err == nil, nil
	}
	s, err := h.sessionAt(ctx, sessionPrefix+who[1:])
	if s == nil || err != nil {
		return "", false, err
	}
	return s.Account, true, nil
}
