package packblob

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// adoptOrphans takes back large blobs that have no record: their writer did not
// come so far, or the record was damaged, or the file of a deleted blob was not
// removed. What is not needed goes with the next sweep. Those that cannot be read now
// are tried again later.
func (s *Store) adoptOrphans() {
	var left []hash
	for _, h := range s.orphans {
		err := s.adoptOrphan(h)
		s.mu.Lock()
		switch d := (Damage{State: UnreadableBlob, Ref: h.ref(), Reason: fmt.Sprint("its file has no record: ", err)}); {
		case errors.Is(err, errWrong):
			s.readsWell(h)
			s.park(h, spot{}, d.Reason)
		case errors.Is(err, os.ErrNotExist): // deleted meanwhile
			s.readsWell(h)
		case err != nil:
			s.fails(h, d)
			left = append(left, h)
		}
		s.mu.Unlock()
	}
	s.orphans = left
}

// adoptOrphan reads a large blob and writes a record for it.
func (s *Store) adoptOrphan(h hash) error {
	f, err := s.fs.OpenFile(s.largePath(h), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	packed := false
	size, sums, err := plainSums(f, h)
	if errors.Is(err, errWrong) {
		packed = true
		size, sums, err = s.packedSums(f, h)
	}
	if err != nil {
		return err
	}
	// Its name may not have been durable when the power went.
	if err := s.fs.SyncDir(filepath.Join(s.dir, "large")); err != nil {
		return err
	}
	s.mu.Lock()
	b, err := s.stage(largeItem(h, size, sums, packed, s.clock.Now()))
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.wait(b)
}

// plainSums returns the block sums of a file that is a blob as it is.
func plainSums(f vfs.File, h hash) (size int64, sums []byte, err error) {
	sum := sha256.New()
	buf := make([]byte, largeBlock)
	for {
		n, err := f.ReadAt(buf, size)
		if n > 0 {
			sum.Write(buf[:n])
			sums = binary.LittleEndian.AppendUint32(sums, checksum(buf[:n]))
			size += int64(n)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, nil, err
		}
	}
	if size > maxBlob || hash256(sum) != h {
		return 0, nil, errWrong
	}
	return size, sums, nil
}

// packedSums does so for a file of compressed blocks.
func (s *Store) packedSums(f vfs.File, h hash) (size int64, sums []byte, err error) {
	sum := sha256.New()
	head := make([]byte, 8)
	if err := readFull(f, head, 0); eofIsNil(err) != nil {
		return 0, nil, err
	} else if err != nil || string(head) != largeMagic {
		return 0, nil, errWrong
	}
	r := &blockReader{f: f, codec: &s.codec, at: int64(len(largeMagic))}
	for {
		if err := readFull(f, head, r.at); err != nil {
			if eofIsNil(err) != nil {
				return 0, nil, err
			}
			break
		}
		if size%largeBlock != 0 || size > maxBlob { // a short block is the last
			return 0, nil, errWrong
		}
		plain, err := r.next(head)
		if err != nil {
			return 0, nil, err
		}
		sum.Write(plain)
		sums = append(sums, head...)
		size += int64(len(plain))
	}
	if hash256(sum) != h {
		return 0, nil, errWrong
	}
	return size, sums, nil
}
