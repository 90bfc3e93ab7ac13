package mailtest_test

import (
	"bytes"
	"net/smtp"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/mailtest"
)

// TestAuth: what a receiver makes of mail that is sent as it should be, from elsewhere,
// changed on the way, and forwarded.
func TestAuth(t *testing.T) {
	w := mailtest.NewWorld(t)
	here := w.Server("here.example", mailtest.Options{DKIM: true, Aliases: []accounts.Alias{{Address: "on@here.example", Targets: []string{"zoe@there.example"}}}})
	there := w.Server("there.example")
	evil := w.Server("evil.example")
	if err := w.DNS.Add(`_dmarc.here.example. TXT "v=DMARC1; p=reject"`); err != nil {
		t.Fatal(err)
	}
	check := func(what string, m *mailtest.Message, spf, dkim, dmarc string) {
		t.Helper()
		a, err := m.Auth(soon(t), w.DNS)
		if err != nil {
			t.Fatal(err)
		}
		signed := "none"
		if len(a.DKIM) > 0 {
			signed = a.DKIM[0].Result
		}
		if a.SPF != spf || signed != dkim || a.DMARC != dmarc || (a.Why == "") != (dkim != "fail" && (dmarc == "pass" || dmarc == "none")) {
			t.Errorf("%s: %+v", what, a)
		}
	}
	submit(t, here, "ann@here.example", "zoe@there.example", out)
	good := there.Wait(soon(t), mailtest.To("zoe@there.example"))
	check("as it should be", good, "pass", "pass", "pass")
	check("changed on the way", &mailtest.Message{From: good.From, Raw: bytes.Replace(good.Raw, []byte("\r\nhi\r\n"), []byte("\r\nho\r\n"), 1)}, "pass", "fail", "pass")
	there.Forget()
	// Somebody else says to be ann.
	submit(t, evil, "mallory@evil.example", "zoe@there.example", out)
	m := there.Wait(soon(t), mailtest.From("mallory@evil.example"))
	check("somebody else", m, "pass", "none", "fail")
	there.Forget()
	send(t, evil.SubmissionAddr(), evil.ClientTLS(), plain{smtp.PlainAuth("", "mallory@evil.example", "x", mailtest.Hostname)}, "ann@here.example", []string{"zoe@there.example"}, out)
	m = there.Wait(soon(t), mailtest.Any())
	check("with her reverse-path too", m, "fail", "none", "fail")
	if a, _ := m.Auth(soon(t), w.DNS); a.Policy != "reject" || !strings.Contains(a.Why, "vouches") {
		t.Errorf("%+v", a)
	}
	there.Forget()
	// Two authors are none.
	check("two authors", &mailtest.Message{From: "ann@here.example", Raw: append([]byte("From: x@y.example\r\n"), good.Raw...)}, "pass", "fail", "fail")
	// No policy.
	submit(t, there, "zoe@there.example", "ann@here.example", strings.Replace(out, "ann@here", "zoe@there", 1))
	check("no policy", here.Wait(soon(t), mailtest.To("ann@here.example")), "pass", "none", "none")
}
