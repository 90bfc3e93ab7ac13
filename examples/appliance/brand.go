package main

import (
	"embed"
	"html/template"
	"io/fs"

	"github.com/mailkeel/mailkeel/webmail"
)

//go:embed brand
var files embed.FS

// acme makes the pages Acme's. The colours that go with the accent, and those of the
// dark theme, are made from it and checked.
func acme() webmail.Brand {
	own, _ := fs.Sub(files, "brand") // static/logo.svg
	return webmail.Brand{
		Name: "Acme Post", Logo: "logo.svg", Icon: "logo.svg", Files: own,
		Colors: map[string]string{"accent": "#0b6e4f"},
		Texts: map[string]map[string]string{
			"en": {"signin.title": "Welcome to {1}"},
			"de": {"signin.title": "Willkommen bei {1}"},
		},
		Links:     []webmail.Link{{Text: "Acme", URL: "https://acme.example/"}},
		Templates: template.Must(template.New("").Parse(`{{define "footer"}}© Acme{{end}}`)),
	}
}
