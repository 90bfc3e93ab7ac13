package dialog

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Said returns what the clients say in the files that match glob, one after the other,
// a connection each: seeds for fuzzing, so that what gets a dialog is fuzzed too.
// Lines that keep, if it is set, says no to are left out. Variables stay as they are.
func Said(glob string, keep func(line string) bool) (all []string, err error) {
	files, err := filepath.Glob(glob)
	if err == nil && len(files) == 0 {
		err = os.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		said := map[string]string{}
		for l := range strings.SplitSeq(string(text), "\n") {
			m := stepForm.FindStringSubmatch(l)
			if m == nil || m[1] != "C" || m[3] != ":" && m[3] != "=" || keep != nil && !keep(m[4]) {
				continue
			}
			line := m[4] + "\r\n"
			if m[3] == "=" {
				if line, err = strconv.Unquote(m[4]); err != nil {
					return nil, err
				}
			}
			said[m[2]] += line
		}
		for _, name := range slices.Sorted(maps.Keys(said)) {
			all = append(all, said[name])
		}
	}
	return all, nil
}
