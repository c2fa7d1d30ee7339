package campaign

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

// pieceSize is how much of a file is read and verified at once. At 32 bytes for each piece the seal
// of 10 GiB takes 320 KiB.
const pieceSize = 1 << 20

// fingerprint is an io.Writer that takes the seal of what is written to it. The zero value is
// ready.
type fingerprint struct {
	sum  hash.Hash
	size int64
	ends [][sha256.Size]byte
}

func (f *fingerprint) Write(p []byte) (int, error) {
	if f.sum == nil {
		f.sum = sha256.New()
	}
	written := len(p)
	for len(p) > 0 {
		n := min(len(p), int(pieceSize-f.size%pieceSize))
		_, _ = f.sum.Write(p[:n]) // a hash never fails
		p, f.size = p[n:], f.size+int64(n)
		if f.size%pieceSize == 0 {
			f.ends = append(f.ends, digestOf(f.sum))
		}
	}
	return written, nil
}

// seal ends the fingerprint.
func (f *fingerprint) seal() *seal {
	_, _ = f.Write(nil)
	if f.size%pieceSize != 0 {
		f.ends = append(f.ends, digestOf(f.sum))
	}
	return &seal{size: f.size, digest: digestOf(f.sum), ends: f.ends}
}

// seal tells whether a file is, from its start to the end of each of its pieces, the one that was
// read before. A copy would tell as much and need as much room as the file.
type seal struct {
	size   int64
	digest [sha256.Size]byte   // of all
	ends   [][sha256.Size]byte // of everything up to the end of each piece
}

// reader reads in once more and hands out a piece only when it is what was sealed. It ends with
// ErrChanged before the first byte of a piece that is not, or that has more behind it than there
// was.
func (s *seal) reader(ctx context.Context, in io.Reader) io.Reader {
	return &sealedReader{ctx: ctx, in: in, seal: s, sum: sha256.New()}
}

type sealedReader struct {
	ctx    context.Context //nolint:containedctx // Read has none, and a file may be large
	in     io.Reader
	seal   *seal
	sum    hash.Hash
	piece  int // the next one
	buffer []byte
	rest   []byte // verified, and not handed out yet
	err    error
}

func (r *sealedReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 && r.err == nil {
		r.rest, r.err = r.next()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next reads and verifies a piece. After the last one it is io.EOF.
func (r *sealedReader) next() ([]byte, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	left := r.seal.size - int64(r.piece)*pieceSize
	if left <= 0 && r.piece > 0 {
		return nil, io.EOF // the last piece has seen to it that nothing follows
	}
	want := int(min(left, pieceSize))
	last := left <= pieceSize
	probe := want
	if last {
		probe++
	}
	if r.buffer == nil {
		r.buffer = make([]byte, pieceSize+1)
	}
	n, err := io.ReadFull(r.in, r.buffer[:probe])
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
	default:
		return nil, err
	}
	if n != want {
		return nil, ErrChanged
	}
	_, _ = r.sum.Write(r.buffer[:n])
	if n > 0 && digestOf(r.sum) != r.seal.ends[r.piece] {
		return nil, ErrChanged
	}
	r.piece++
	if last {
		err = io.EOF
	} else {
		err = nil
	}
	return r.buffer[:n], err
}

func digestOf(h hash.Hash) (d [sha256.Size]byte) {
	h.Sum(d[:0])
	return d
}
