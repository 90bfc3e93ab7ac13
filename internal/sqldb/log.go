package sqldb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// A Lost says what SQLite does not read of a log that a crash left behind: it takes
// the frames up to the first that is not as it was written, and says nothing of what
// stands behind that. Frames are pages as they were to become.
type Lost struct {
	File    string
	Frames  int // behind the damaged one, as they were written
	Commits int // transactions that end in Frames
}

func (l *Lost) String() string {
	why := "either power failed while they were written, or the file was damaged"
	if l.Commits > 1 { // each is synced before the next begins
		why = "the file was damaged after it was written"
	}
	return fmt.Sprintf("%d frames, with the end of %d transactions, stand behind a damaged one in %s: %s. What they held is lost",
		l.Frames, l.Commits, l.File, why)
}

const (
	logHead   = 32 // bytes before the first frame
	frameHead = 24 // bytes before the page in a frame
	logMagic  = 0x377f0682
)

// readLog looks for what is lost of the log at path, before SQLite opens it; nil means
// nothing. It does what SQLite does (see "WAL-Index recovery" in its file format), and
// goes on behind the end that SQLite finds. Frames without the end of a transaction
// do not count, because nobody was told that they are there.
func readLog(fsys vfs.FS, path string) (*Lost, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	l := logReader{f: f}
	if _, err := f.ReadAt(l.head[:], 0); err == io.EOF {
		return nil, nil // it was just begun
	} else if err != nil {
		return nil, err
	}
	frames, commits, err := l.lost()
	if err != nil || commits == 0 {
		return nil, err
	}
	return &Lost{path, frames, commits}, nil
}

// A logSum is the checksum of a log up to some place.
type logSum [2]uint32

// add goes on over b, of a multiple of 8 bytes.
func (s logSum) add(order binary.ByteOrder, b []byte) logSum {
	x, y := s[0], s[1]
	if order == binary.LittleEndian { // in line, which order is not
		for ; len(b) >= 8; b = b[8:] {
			x += binary.LittleEndian.Uint32(b) + y
			y += binary.LittleEndian.Uint32(b[4:]) + x
		}
	} else {
		for ; len(b) >= 8; b = b[8:] {
			x += binary.BigEndian.Uint32(b) + y
			y += binary.BigEndian.Uint32(b[4:]) + x
		}
	}
	return logSum{x, y}
}

// sumAt is a checksum as it stands in a log.
func sumAt(b []byte) logSum {
	return logSum{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

type logReader struct {
	f     io.ReaderAt
	head  [logHead]byte
	order binary.ByteOrder // of what is summed up
	page  int
	salt  [8]byte // which frames have, and those of an older log have not
	// before are the checksums that the next frame may go on from: as it stands in
	// the last one, and if that is not right, as it should stand there.
	before [2]logSum
}

// lost counts the frames behind the first that is not right, up to the last that ends
// a transaction.
func (l *logReader) lost() (frames, commits int, err error) {
	behind, err := l.begin()
	if err != nil || l.page == 0 {
		return 0, 0, err
	}
	found := 0
	r := io.NewSectionReader(l.f, logHead, 1<<62)
	buf := make([]byte, max(256<<10/(l.page+frameHead), 1)*(l.page+frameHead))
	for {
		n, err := io.ReadFull(r, buf)
		for b := buf[:n]; len(b) >= l.page+frameHead; b = b[l.page+frameHead:] {
			right, end := l.frame(b[:l.page+frameHead])
			switch {
			case !right:
				behind = true
			case behind:
				if found++; end {
					frames = found
					commits++
				}
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return frames, commits, nil
		} else if err != nil {
			return 0, 0, err
		}
	}
}

// frame reports whether a frame is as it was written behind the one before, and whether
// a transaction ends with it.
func (l *logReader) frame(b []byte) (right, end bool) {
	if [8]byte(b[8:16]) != l.salt {
		l.before = [2]logSum{sumAt(b[16:]), sumAt(b[16:])}
		return false, false
	}
	stands := sumAt(b[16:])
	should := l.before[0].add(l.order, b[:8]).add(l.order, b[frameHead:])
	if right = stands == should; !right && l.before[0] != l.before[1] {
		right = stands == l.before[1].add(l.order, b[:8]).add(l.order, b[frameHead:])
	}
	if right {
		should = stands
	}
	l.before = [2]logSum{stands, should}
	return right && binary.BigEndian.Uint32(b) != 0, binary.BigEndian.Uint32(b[4:]) != 0
}

// begin reads the head. It reports whether that is damaged, and then finds out from the
// first frame how to read the others; if nothing fits, page is zero.
func (l *logReader) begin() (damaged bool, err error) {
	magic := binary.BigEndian.Uint32(l.head[:])
	l.order = binary.LittleEndian
	if magic == logMagic|1 {
		l.order = binary.BigEndian
	}
	stands, should := sumAt(l.head[24:]), logSum{}.add(l.order, l.head[:24])
	l.salt = [8]byte(l.head[16:])
	size := binary.BigEndian.Uint32(l.head[8:])
	if magic&^1 == logMagic && stands == should && size >= 512 && size <= 1<<16 && size&(size-1) == 0 {
		l.page, l.before = int(size), [2]logSum{stands, stands}
		return false, nil
	}
	b := make([]byte, frameHead+1<<16)
	n, err := l.f.ReadAt(b, logHead)
	if err != nil && err != io.EOF {
		return true, err
	}
	for _, l.order = range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for l.page = 512; l.page <= 1<<16 && frameHead+l.page <= n; l.page *= 2 {
			l.salt = [8]byte(b[8:])
			l.before = [2]logSum{stands, logSum{}.add(l.order, l.head[:24])}
			if right, _ := l.frame(b[:frameHead+l.page]); right {
				l.before = [2]logSum{stands, logSum{}.add(l.order, l.head[:24])}
				return true, nil
			}
		}
	}
	l.page = 0
	return true, nil
}
