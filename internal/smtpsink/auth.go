package smtpsink

import (
	"encoding/base64"
	"strings"
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
	default:
		return x.say(cmd, "504 5.5.4 no such mechanism")
	}
	if x.Auth == nil || !x.Auth(user, password) {
		return x.say(cmd, "535 5.7.8 bad credentials")
	}
	x.user = user
	return x.say(cmd, "235 2.7.0 welcome")
}
