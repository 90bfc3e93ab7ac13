package webmail_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/delivery/mailbox"
	"github.com/mailkeel/mailkeel/delivery/submit"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
	"github.com/mailkeel/mailkeel/webmail"
)

// An application mounts webmail beside its own pages, and says who is signed in.
func Example() {
	users := &static.Directory{Accounts: []static.Account{{Account: accounts.Account{ID: "u17", Address: "ann@example.test"}}}}
	boxes := &store.Store{Backend: &memstore.Backend{}, Blobs: &memblob.Store{}}
	mail := &webmail.Handler{
		Store:     boxes,
		Directory: users,
		Submit:    &submit.Transport{Next: &mailbox.Transport{Store: boxes}, Directory: users, Sent: boxes},
		Prefix:    "/mail",
		Brand:     webmail.Brand{Name: "Shop Mail", Links: []webmail.Link{{Text: "Back to the shop", URL: "/"}}},
		// The application's own cookie, and where it lets people sign in.
		Session: func(r *http.Request) (mailkeel.AccountID, bool) {
			c, err := r.Cookie("shop")
			if err != nil || c.Value != "ann is here" {
				return "", false
			}
			return "u17", true
		},
		SignIn: "/login",
	}
	mux := http.NewServeMux()
	mux.Handle("/mail/", mail)

	get := func(path string, cookie string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "https://shop.example.test"+path, nil)
		r.AddCookie(&http.Cookie{Name: "shop", Value: cookie})
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	fmt.Println("a stranger is sent to", get("/mail/", "").Header().Get("Location"))
	inbox := get("/mail/", "ann is here").Header().Get("Location")
	fmt.Println("ann is sent to", inbox, get(inbox, "ann is here").Code)
	fmt.Println("there is no other login:", get("/mail/signin", "ann is here").Code)
	// Output:
	// a stranger is sent to /login
	// ann is sent to /mail/mail/1 200
	// there is no other login: 404
}
