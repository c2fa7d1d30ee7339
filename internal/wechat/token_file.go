package wechat

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// fileCheck is how often at most the token file is looked at.
const fileCheck = time.Second

// FileToken is the TokenSource for a file that somebody else keeps up to date: the token alone, or
// an object {"access_token": …}. The file is looked at once a second at most and read when it has
// changed (time, size or inode, so a swapped symbolic link counts). kefu never refreshes the token:
// one that WeChat refused is handed out once more if it is still what the file holds, and when that
// is refused too, Token fails with FaultConfig until the file holds another, but for a minute at
// most: a good token is refused at times. A file that is away for a moment does no harm while the
// token read before is good.
type FileToken struct {
	path  string
	state atomic.Pointer[fileState]
	mu    sync.Mutex // one reader at a time
}

// fileState is what was found at the last look.
type fileState struct {
	token   Secret
	info    os.FileInfo // of the file that token was read from
	read    time.Time
	checked time.Time
	err     error // why there is no token to hand out, or why the file could not be read anew

	refused      Secret // the token that Stale named
	refusedAt    time.Time
	refusedAgain bool // it was read again, and refused again
}

// NewFileToken returns the token source that reads path. The file need not exist yet.
func NewFileToken(path string) *FileToken {
	f := &FileToken{path: path}
	f.state.Store(&fileState{})
	return f
}

// Token returns the token in the file. It does not wait, so ctx does not count.
func (f *FileToken) Token(context.Context) (Secret, error) {
	s := f.state.Load()
	if time.Since(s.checked) >= fileCheck {
		s = f.reload(false)
	}
	return s.result(f.path)
}

// Probe looks at the file at once.
func (f *FileToken) Probe(context.Context) error {
	_, err := f.reload(true).result(f.path)
	return err
}

// Stale remembers that failed was refused, and has the next Token look at the file at once.
func (f *FileToken) Stale(failed Secret) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, now := *f.state.Load(), time.Now()
	if s.token.Empty() || !s.token.Equal(failed) {
		return
	}
	again := s.refusedRecently(now)
	if again && !s.token.same(failed) {
		return // this refusal is of before the file was read again
	}
	s.refusedAgain, s.refused, s.refusedAt, s.checked = again, failed, now, time.Time{}
	f.state.Store(&s)
}

// refusedRecently reports whether the token at hand was refused a short time ago.
func (s *fileState) refusedRecently(now time.Time) bool {
	return s.token.Equal(s.refused) && !s.token.Empty() && now.Sub(s.refusedAt) < refusalMemory
}

// State tells what is known of the token.
func (f *FileToken) State() TokenState {
	s := f.state.Load()
	token, err := s.result(f.path)
	if err == nil {
		err = s.err
	}
	return TokenState{Valid: !token.Empty(), Fetched: s.read, Err: err}
}

func (s *fileState) result(path string) (Secret, error) {
	switch {
	case s.token.Empty() && s.err == nil:
		return Secret{}, fileError(fmt.Errorf("token file %s has not been read", path))
	case s.token.Empty():
		return Secret{}, s.err
	case s.refusedAgain && s.refusedRecently(time.Now()):
		return Secret{}, fileError(fmt.Errorf(
			"token file %s is stale: it still holds the token that wechat refused, and whoever "+
				"writes it must replace it", path))
	}
	return s.token, nil
}

// reload reads the file if it has changed, and returns the new state. Of many callers at once one
// looks.
func (f *FileToken) reload(now bool) *fileState {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := *f.state.Load()
	if !now && time.Since(s.checked) < fileCheck {
		return &s
	}
	s.checked = time.Now()
	info, err := os.Stat(f.path)
	switch {
	case err != nil:
		s.err = fileError(fmt.Errorf("token file: %w", err))
	case s.info == nil || !sameVersion(info, s.info) || s.refusedRecently(s.checked):
		f.read(&s)
	default:
		s.err = nil
	}
	f.state.Store(&s)
	return &s
}

// sameVersion compares what a file system tells of a file. A refused token is read again all the
// same, see look: two writes may fall into one tick of its clock.
func sameVersion(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func (f *FileToken) read(s *fileState) {
	token, info, err := readTokenFile(f.path)
	if err != nil {
		s.err = fileError(err)
		return
	}
	if !token.Equal(s.refused) {
		s.refused, s.refusedAgain = Secret{}, false
	}
	// else it has been read again already, and Stale knows it by that
	if !token.Equal(s.token) || s.read.Before(s.refusedAt) {
		s.token = token
	}
	s.info, s.read, s.err = info, s.checked, nil
}

// readTokenFile reads the file through one handle, so that the token belongs to the file described.
func readTokenFile(path string) (Secret, os.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return Secret{}, nil, fmt.Errorf("token file: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return Secret{}, nil, fmt.Errorf("token file: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxReply))
	if err != nil {
		return Secret{}, nil, fmt.Errorf("token file: %w", err)
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(data), byteOrderMark))
	if strings.HasPrefix(text, "{") {
		r, err := parseObject(blankControls([]byte(text)))
		if err != nil {
			return Secret{}, nil, fmt.Errorf("token file %s: it begins like JSON and is none", path)
		}
		text = r.text("access_token")
	}
	if !isToken(text) {
		return Secret{}, nil, fmt.Errorf("token file %s: no access token in it", path)
	}
	return NewSecret(text), info, nil
}

func fileError(err error) *Error { return &Error{Call: CallToken, Fault: FaultConfig, Err: err} }
