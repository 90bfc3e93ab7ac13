package peers

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// WhenKilled runs a shell script with arguments if this process ends before release,
// however that comes: a test that takes too long ends without its cleanups, and must
// not leave servers or mounts behind.
func WhenKilled(script string, args ...string) (release func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	// Our end of the pipe closes with us.
	cmd := exec.Command("/bin/sh", append([]string{"-c", "trap '' INT HUP TERM; cat >/dev/null\n" + script, "sh"}, args...)...)
	cmd.Dir, cmd.Stdin = "/", r
	err = cmd.Start()
	r.Close()
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("peers: %w", err)
	}
	return sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
		w.Close()
	}), nil
}
