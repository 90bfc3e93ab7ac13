package smtpsink

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
)

// auth speaks PLAIN (RFC 4616) and LOGIN.
func (x *session) auth(cmd, arg string) bool {
	mech, initial, _ := strings.Cut(arg, " ")
	ask := func(prompt string) (string, bool) {
		if !x.say("AUTH +", "334 "+base64.StdEncoding.EncodeToString([]byte(prompt))) {
			return "", false
		}
		line, err := x.r.ReadString('\n')
		if err != nil {
			return "", false
		}
		data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		return string(data), err == nil
	}
	var user, password string
	switch strings.ToUpper(mech) {
	case "PLAIN":
		data, err := base64.StdEncoding.DecodeString(initial)
		text, ok := string(data), err == nil
		if initial == "" {
			text, ok = ask("")
		}
		parts := strings.Split(text, "\x00")
		if !ok || len(parts) != 3 {
			return x.say(cmd, "501 5.5.2 bad PLAIN")
		}
		user, password = parts[1], parts[2]
	case "LOGIN":
		var ok, ok2 bool
		user, ok = ask("Username:")
		password, ok2 = ask("Password:")
		if !ok || !ok2 {
			return x.say(cmd, "501 5.5.2 bad LOGIN")
		}
	case "SCRAM-SHA-256":
		return x.scram(cmd, initial, ask)
	default:
		return x.say(cmd, "504 5.5.4 no such mechanism")
	}
	if x.Auth == nil || !x.Auth(user, password) {
		return x.say(cmd, "535 5.7.8 bad credentials")
	}
	x.user = user
	return x.say(cmd, "235 2.7.0 welcome")
}

// scram speaks SCRAM-SHA-256 (RFC 7677).
func (x *session) scram(cmd, initial string, ask func(string) (string, bool)) bool {
	server, err := scram.SHA256.NewServer(func(user string) (scram.StoredCredentials, error) {
		password, ok := x.SCRAM[user]
		if !ok {
			return scram.StoredCredentials{}, fmt.Errorf("no user %q", user)
		}
		client, err := scram.SHA256.NewClient(user, password, "")
		if err != nil {
			return scram.StoredCredentials{}, err
		}
		return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
	})
	if err != nil {
		return x.say(cmd, "454 4.7.0 "+err.Error())
	}
	conv := server.NewConversation()
	data, err := base64.StdEncoding.DecodeString(initial)
	in := string(data)
	for err == nil {
		var out string
		if out, err = conv.Step(in); err != nil {
			break
		}
		var ok bool
		if in, ok = ask(out); !ok {
			return false
		}
		if conv.Done() {
			break
		}
	}
	if err != nil || !conv.Valid() {
		return x.say(cmd, "535 5.7.8 bad credentials")
	}
	x.user = conv.Username()
	return x.say(cmd, "235 2.7.0 welcome")
}
