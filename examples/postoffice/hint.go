package main

import (
	"errors"
	"io/fs"
	"net"
	"syscall"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/server/embedded"
)

// hint is what to do about an error at the start, or "".
func hint(err error) string {
	var op *net.OpError
	listening := errors.As(err, &op) && op.Op == "listen"
	switch {
	case errors.Is(err, embedded.ErrInUse):
		return "one process at a time: stop that one, or choose another -dir"
	case errors.Is(err, embedded.ErrDamaged):
		return embedded.Hint(err)
	case errors.Is(err, embedded.ErrNoHome):
		return "-dir says where it is; the first start of the server makes it"
	case errors.Is(err, embedded.ErrVersion):
		return "the program that wrote it can read it; if that was this one, the file VERSION in it is damaged: it should say 2"
	case errors.Is(err, embedded.ErrForeign):
		return "choose a new directory with -dir, or chmod 700 that one if it is for mail"
	case errors.Is(err, accounts.ErrWeakPassword):
		return "choose a longer password"
	case listening && errors.Is(err, syscall.EADDRINUSE):
		return "another program listens there: stop it, or choose another address with that flag"
	case listening && errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine has no such address"
	case listening && errors.Is(err, fs.ErrPermission):
		return "ports below 1024 need a right: let the service manager give CAP_NET_BIND_SERVICE, or choose a higher port"
	case errors.Is(err, fs.ErrPermission):
		return "run it as the user who owns the directory and the files, or give them to this one with chown -R"
	}
	return ""
}
