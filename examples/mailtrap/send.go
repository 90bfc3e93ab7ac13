package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"
)

// A sending is the body of POST /api/v1/send.
type sending struct {
	From        person
	To, Cc      []person
	Bcc         []string
	ReplyTo     []person
	Subject     string
	Text, HTML  string
	Attachments []struct{ Content, Filename, ContentType, ContentID string }
	Headers     map[string]string
	Tags        []string
}

type person struct{ Email, Name string }

func (p person) String() string { return (&mail.Address{Name: p.Name, Address: p.Email}).String() }

// send makes a message of JSON and sends it to the server itself.
func (t *trap) send(w http.ResponseWriter, r *http.Request) error {
	var s sending
	if err := body(r, &s); err != nil {
		return err
	}
	var to []string
	for _, p := range append(append([]person{}, s.To...), s.Cc...) {
		to = append(to, p.Email)
	}
	to = append(to, s.Bcc...)
	if s.From.Email == "" || len(to) == 0 {
		return errors.New("a From and one of To, Cc, Bcc are required")
	}
	id := rand.Text() + "@mailtrap.invalid"
	raw, err := s.message(id, r.FormValue("inbox"))
	if err != nil {
		return err
	}
	if err := smtp.SendMail(t.srv.SMTPAddr(), nil, s.From.Email, to, raw); err != nil {
		return err
	}
	for {
		found, changed := t.look(func(e *entry) bool { return messageID(e) == id })
		if len(found) > 0 {
			return answer(w, 200, map[string]string{"ID": found[0].id})
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return r.Context().Err()
		case <-time.After(30 * time.Second):
			return errors.New("the message was taken, and has not arrived")
		}
	}
}

func (s *sending) message(id, inbox string) ([]byte, error) {
	var b bytes.Buffer
	var bad error
	field := func(name, value string) {
		if strings.ContainsAny(name+value, "\r\n") || strings.ContainsAny(name, ": ") || name == "" {
			bad = fmt.Errorf("header %q is not possible", name)
		}
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	people := func(name string, all []person) {
		var list []string
		for _, p := range all {
			list = append(list, p.String())
		}
		if list != nil {
			field(name, strings.Join(list, ", "))
		}
	}
	field("From", s.From.String())
	people("To", s.To)
	people("Cc", s.Cc)
	people("Reply-To", s.ReplyTo)
	field("Subject", mime.QEncoding.Encode("utf-8", s.Subject))
	field("Date", now().Format(time.RFC1123Z))
	field("Message-ID", "<"+id+">")
	field("MIME-Version", "1.0")
	if s.Tags != nil {
		field("X-Tags", strings.Join(s.Tags, ", "))
	}
	if inbox != "" {
		field("X-Inbox", inbox)
	}
	for name, value := range s.Headers {
		if strings.ContainsAny(value, "\r\n") { // which encoding would hide
			return nil, fmt.Errorf("header %q is not possible", name)
		}
		field(name, mime.QEncoding.Encode("utf-8", value))
	}
	if bad != nil {
		return nil, bad
	}
	mixed := multipart.NewWriter(&b)
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n", mixed.Boundary())
	both := &bytes.Buffer{}
	alternative := multipart.NewWriter(both)
	text := func(kind, text string) error {
		p, err := alternative.CreatePart(textproto.MIMEHeader{"Content-Type": {kind + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"}})
		if err != nil {
			return err
		}
		q := quotedprintable.NewWriter(p)
		if _, err := q.Write([]byte(text)); err != nil {
			return err
		}
		return q.Close()
	}
	if s.Text != "" || s.HTML == "" {
		if err := text("text/plain", s.Text); err != nil {
			return nil, err
		}
	}
	if s.HTML != "" {
		if err := text("text/html", s.HTML); err != nil {
			return nil, err
		}
	}
	alternative.Close()
	p, err := mixed.CreatePart(textproto.MIMEHeader{"Content-Type": {"multipart/alternative; boundary=" + alternative.Boundary()}})
	if err != nil {
		return nil, err
	}
	p.Write(both.Bytes())
	for _, a := range s.Attachments {
		data, err := base64.StdEncoding.DecodeString(a.Content)
		if err != nil {
			return nil, fmt.Errorf("attachment %q: %w", a.Filename, err)
		}
		kind := a.ContentType
		if kind == "" {
			kind = http.DetectContentType(data)
		}
		how := "attachment"
		h := textproto.MIMEHeader{"Content-Type": {kind}, "Content-Transfer-Encoding": {"base64"}}
		if a.ContentID != "" {
			how = "inline"
			h.Set("Content-ID", "<"+a.ContentID+">")
		}
		if h.Set("Content-Disposition", mime.FormatMediaType(how, map[string]string{"filename": a.Filename})); strings.ContainsAny(kind+a.ContentID, "\r\n") {
			return nil, fmt.Errorf("attachment %q: a line end in its type", a.Filename)
		}
		p, err := mixed.CreatePart(h)
		if err != nil {
			return nil, err
		}
		for s := base64.StdEncoding.EncodeToString(data); s != ""; {
			n := min(76, len(s))
			fmt.Fprintf(p, "%s\r\n", s[:n])
			s = s[n:]
		}
	}
	mixed.Close()
	return b.Bytes(), nil
}
