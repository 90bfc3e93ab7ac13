package webmail

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
)

// TestOwnLogin: with an application's own login there is none here, forms are held to the
// same rules, and images of mail are shown without a cookie.
func TestOwnLogin(t *testing.T) {
	s := newStocked(t, func(h *Handler) {
		h.Auth, h.SignIn = nil, "/login"
		h.Session = func(r *http.Request) (mailkeel.AccountID, bool) {
			c, err := r.Cookie("app")
			if err != nil {
				return "", false
			}
			return mailkeel.AccountID(c.Value), true
		}
	})
	ann := s.tab()
	ann.client.Jar.SetCookies(ann.at, []*http.Cookie{{Name: "app", Value: "a-ann", Secure: true, Path: "/"}})
	ann.get("/").wants(200, "Inbox", "ann@example.test", secret).lacks("Sign out")
	ann.get("/settings").wants(200, "Signature").lacks("Change password")
	image := ann.get(s.path(route{path: "/mail/{folder}/{uid}/frame/{path}"})).frameImage()
	if w := s.ask("GET", image, nil, nil, ""); w.Code != 200 || w.Body.String() != secret {
		t.Errorf("image: %d", w.Code)
	}
	ann.get(s.path(route{path: "/mail/{folder}/{uid}"})).follow("Reply").submit("send", "to", "bob@example.test", "text", "Yes.").wants(200, "was sent")
	for _, path := range []string{"/signin", "/signout", "/settings/password"} {
		w := s.ask("POST", path, ann.cookies(), head("Content-Type", formType, "Sec-Fetch-Site", "same-origin"), "do=x")
		if w.Code != 404 || len(w.Header()["Set-Cookie"]) > 0 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	w := s.ask("POST", folderPath(s.inbox), ann.cookies(), head("Content-Type", formType, "Sec-Fetch-Site", "cross-site"), "do=delete&uid=1")
	if w.Code != 403 {
		t.Errorf("a foreign form: %d", w.Code)
	}
	if w := s.ask("GET", "/settings", nil, nil, ""); w.Code != 303 || w.Header().Get("Location") != "/login" {
		t.Errorf("a stranger: %d %v", w.Code, w.Header())
	}
	if w := s.ask("POST", "/settings", nil, head("Content-Type", formType, "Sec-Fetch-Site", "same-origin"), "do=save"); w.Code != 401 {
		t.Errorf("a stranger's form: %d", w.Code)
	}
}

// TestRemote: images of others are shown only to who asked for them on this page, and no
// link can ask.
func TestRemote(t *testing.T) {
	s := newStocked(t)
	ann := s.as("ann")
	read := s.path(route{path: "/mail/{folder}/{uid}"})
	frame := s.path(route{path: "/mail/{folder}/{uid}/frame/{path}"})
	shown := func() bool { return strings.Contains(ann.body, "tracker.example") }
	policy := func() string { return ann.res.Header.Get("Content-Security-Policy") }

	ann.get(frame).wants(200)
	if shown() || strings.Contains(policy(), "http") {
		t.Errorf("shown unasked: %s\n%s", policy(), ann.body)
	}
	for _, key := range []string{"1", "true", url.QueryEscape(token()), ""} {
		if ann.get(frame + "?remote=" + key); shown() {
			t.Errorf("shown with %q", key)
		}
	}
	ann.get(read).wants(200, "Remote images are not shown").follow("Show remote images").lacks("Remote images are not shown")
	ann.get(attrOf(ann, "iframe", "src")).wants(200)
	if !shown() || !strings.Contains(policy(), "img-src 'self' data: https: http:;") {
		t.Errorf("not shown: %s\n%s", policy(), ann.body)
	}
	// The key is for one message of one person.
	key := ann.at.RawQuery
	rg := s.rig
	rg.deliver("a-ann", strings.ReplaceAll(rich, "Message-ID: <rich", "Message-ID: <rich2"))
	other := strings.Replace(frame, "/1/frame", "/2/frame", 1)
	if ann.get(other + "?" + key).wants(200); shown() {
		t.Error("the key of one message shows another")
	}
	// Who always wants them is asked no more.
	ann.get("/settings").submit("save", "remote", "1")
	if ann.get(frame).wants(200); !shown() {
		t.Error("not shown to who always wants them")
	}
	ann.get(read).wants(200).lacks("Remote images are not shown")
	// As text there is nothing to load.
	ann.follow("Show as plain text").wants(200, secret).follow("Show as it was designed").wants(200)
}

func attrOf(b *tab, element, key string) string {
	for n := range b.doc.Descendants() {
		if n.Data == element {
			return attr(n, key)
		}
	}
	b.rg.t.Fatalf("%s has no <%s>", b.at, element)
	return ""
}

// TestLanguage: that of the settings, or of the browser, and English for all others.
func TestLanguage(t *testing.T) {
	rg := newRig(t, func(h *Handler) {
		h.Brand.Texts = map[string]map[string]string{"ar": {"language": "العربية", "signin": "دخول"}}
	})
	r, _ := http.NewRequest("GET", "https://mail.example.test/signin", nil)
	r.Header.Set("Accept-Language", "fr, ar-EG;q=0.5")
	b := rg.tab()
	b.do(r)
	b.wants(200, "دخول", "Password")
	if !strings.Contains(b.body, `<html lang="ar" dir="rtl">`) || b.res.Header.Get("Content-Language") != "ar" {
		t.Errorf("%s", b.body)
	}
	ann := rg.as("ann")
	ann.get("/settings").submit("save", "language", "ar").wants(200, "Your settings are saved.")
	if !strings.Contains(ann.body, `<html lang="ar" dir="rtl">`) {
		t.Errorf("%s", ann.body)
	}
	ann.submit("save", "language", "en", "theme", "dark").wants(200, "saved")
	if !strings.Contains(ann.body, `<html lang="en" dir="ltr" data-theme="dark">`) {
		t.Errorf("%s", ann.body)
	}
}
