package mailtest_test

import (
	"net/smtp"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/mailtest"
)

// register stands for the code under test.
func register(smtpAddr, to string) error {
	return smtp.SendMail(smtpAddr, nil, "app@example.net", []string{to}, []byte("Subject: Welcome\r\n\r\nHello Ann\r\n"))
}

func Example() {
	_ = func(t *testing.T) { // func TestWelcome
		srv := mailtest.New(t)
		register(srv.SMTPAddr(), "ann@example.test")
		m := srv.Wait(t.Context(), mailtest.To("ann@example.test").Subject("Welcome"))
		if !strings.Contains(m.Text(), "Hello Ann") {
			t.Errorf("got %v", m)
		}
	}
}
