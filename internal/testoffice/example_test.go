package testoffice_test

import (
	"net/smtp"
	"testing"

	"github.com/mailkeel/mailkeel/internal/testoffice"
)

func Example() {
	_ = func(t *testing.T) {
		office := testoffice.Start(t, "-domain", "x.test", "-account", "ann@x.test:secret-1")
		c, err := smtp.Dial(office.SMTP)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		office.Kill()    // as a crash does
		office.Restart() // the same directory and addresses
	}
}
