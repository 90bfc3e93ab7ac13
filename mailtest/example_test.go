package mailtest_test

import (
	"net/smtp"
	"testing"

	"github.com/mailkeel/mailkeel/mailtest"
)

// sendWelcome stands for the code under test.
func sendWelcome(smtpAddr, to string) error {
	return smtp.SendMail(smtpAddr, nil, "app@example.net", []string{to}, []byte("Subject: Welcome\r\n\r\nhello\r\n"))
}

func Example() {
	_ = func(t *testing.T) { // func TestWelcome
		srv := mailtest.New(t)
		srv.Account("ann@example.test", "secret")
		if err := sendWelcome(srv.SMTPAddr(), "ann@example.test"); err != nil {
			t.Fatal(err)
		}
		if m := srv.Wait(t.Context(), 1)[0]; m.Header("Subject") != "Welcome" {
			t.Errorf("ann got %v", m)
		}
	}
}
