package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// setup is what results are of.
type setup struct {
	Date         string   `json:"date"`
	Minutes      float64  `json:"minutes"`
	Machine      []string `json:"machine"`
	Runs         int      `json:"runs"`
	Messages     int      `json:"messages,omitempty"`
	Period       float64  `json:"period_seconds"`
	Size         int      `json:"size"`
	Stored       int      `json:"stored"`
	Mailbox      int      `json:"mailbox"`
	Sessions     int      `json:"sessions"`
	ManySessions int      `json:"many_sessions"`
}

// machine describes this one, and what is on it.
func machine(dir string) []string {
	release, _ := exec.Command("uname", "-r").Output()
	release, _, _ = bytes.Cut(bytes.TrimSpace(release), []byte("-"))
	var memory int
	fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%d", &memory)
	return []string{
		fmt.Sprintf("%d cores (%s), %d GiB of memory", runtime.NumCPU(), cmp.Or(field("/proc/cpuinfo", "model name"), runtime.GOARCH), (memory+1<<19)>>20),
		fmt.Sprintf("Linux %s, %s; %s", release, cmp.Or(strings.Trim(field("/etc/os-release", "PRETTY_NAME"), `"`), "unknown distribution"), filesystem(dir)),
		fmt.Sprintf("%s; %s", strings.Replace(runtime.Version(), "go", "Go ", 1), versions()),
	}
}

// field returns what stands behind a name, and ":" or "=", in a file of lines.
func field(file, name string) string {
	b, _ := os.ReadFile(file)
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `\s*[:=]\s*(.*)$`).FindSubmatch(b)
	if m == nil {
		return ""
	}
	return strings.TrimSpace(string(m[1]))
}

// filesystem describes the one that holds dir.
func filesystem(dir string) string {
	b, _ := os.ReadFile("/proc/self/mounts")
	best, text := "", "unknown file system"
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		rel, err := filepath.Rel(f[1], dir)
		if err == nil && rel != ".." && !strings.HasPrefix(rel, "../") && len(f[1]) >= len(best) {
			best, text = f[1], f[2]
			for o := range strings.SplitSeq(f[3], ",") { // what has to do with syncs
				if strings.Contains(o, "sync") || strings.Contains(o, "barrier") || strings.HasPrefix(o, "data=") {
					text += " " + o
				}
			}
			if f[2] == "ext4" {
				text += journal(f[0])
			}
		}
	}
	return text
}

// journal says whether an ext4 has one, as the kernel lists it.
func journal(device string) string {
	name := filepath.Base(device)
	if real, err := filepath.EvalSymlinks(device); err == nil {
		name = filepath.Base(real)
	}
	found, _ := filepath.Glob("/proc/fs/jbd2/" + name + "-*")
	if len(found) == 0 {
		return ", without a journal"
	}
	return ", with a journal"
}

// versions are those of the peers.
func versions() string {
	out := func(name string, args ...string) string {
		b, err := exec.Command(name, args...).Output()
		if err != nil {
			return "not installed"
		}
		return strings.TrimSpace(string(b))
	}
	_, postfix, _ := strings.Cut(out("/usr/sbin/postconf", "mail_version"), "= ")
	dovecot, _, _ := strings.Cut(out("/usr/sbin/dovecot", "--version"), " ")
	return fmt.Sprintf("Postfix %s; Dovecot %s", cmp.Or(postfix, "not installed"), dovecot)
}
