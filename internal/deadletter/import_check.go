package deadletter

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/kefuhq/kefu/internal/textfile"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// BadLine is a line of a file that is no letter.
type BadLine struct {
	Line int    `json:"line"` // the first is 1
	Rule string `json:"rule"` // that it breaks; it quotes nothing of the line
}

// ImportPlan says what a file of letters holds.
type ImportPlan struct {
	Tally
	Invalid int       `json:"invalid"`       // lines that are no letters
	Bad     []BadLine `json:"bad,omitempty"` // the first of them

	keys map[letterKey]uint64 // of the letters → their sequence in the box; 0: not there
	ids  []string             // of the letters, as long as there are few enough to look them up
}

// mostBadLines is how many lines a plan describes.
const mostBadLines = 20

// maxLine is the longest line in bytes. A broker of the usual settings takes messages of 1 MiB.
const maxLine = 8 << 20

// letterKey tells letters apart as their message id at the broker does. A hash is smaller: a file
// may hold a million.
type letterKey [16]byte

func keyOf(l *schema.Letter) letterKey {
	sum := sha256.Sum256([]byte(wire.LetterMsgID(l.AppID, l.ID, l.Generation, l.Sequence)))
	return letterKey(sum[:16])
}

// CheckImport reads a file of letters, as Export writes it, to its end. The file may be compressed
// by gzip. With an appID, the letters of other apps are invalid. The error is that of the context
// or of a file that cannot be read.
func CheckImport(ctx context.Context, r io.Reader, appID string) (ImportPlan, error) {
	p := ImportPlan{keys: make(map[letterKey]uint64)}
	err := readLetters(ctx, r, appID, func(line int, l *schema.Letter, _ []byte, bad error) error {
		if bad != nil {
			p.Invalid++
			if len(p.Bad) < mostBadLines {
				p.Bad = append(p.Bad, BadLine{line, bad.Error()})
			}
			return nil
		}
		p.add(l)
		p.keys[keyOf(l)] = 0
		if len(p.ids) <= mostLookUps && !slices.Contains(p.ids, l.ID) {
			p.ids = append(p.ids, l.ID)
		}
		return nil
	})
	p.sort()
	return p, err
}

// readLetters calls f for each line that is not empty: with a letter and its JSON, which is f's
// for the call only, or with the reason why it is none.
func readLetters(
	ctx context.Context, r io.Reader, appID string,
	f func(line int, l *schema.Letter, raw []byte, bad error) error,
) error {
	start := bufio.NewReader(r)
	r = start
	// What is too short for gzip's two bytes is no gzip.
	if magic, _ := start.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(start)
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
		r = unpacked
	}
	lines := bufio.NewScanner(textfile.NewReader(r))
	lines.Buffer(make([]byte, 64<<10), maxLine)
	n := 0
	for lines.Scan() {
		n++
		if err := ctx.Err(); err != nil {
			return err
		}
		raw := bytes.TrimSpace(lines.Bytes())
		if len(raw) == 0 {
			continue
		}
		l, bad := parseLetter(raw, appID)
		if err := f(n, l, raw, bad); err != nil {
			return err
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("line %d is longer than %d MiB: is this an export?", n+1, maxLine>>20)
	case err != nil:
		return fmt.Errorf("after line %d: %w", n, err)
	}
	return nil
}

// parseLetter reads a letter, or says which rule the line breaks. It asks for what a letter needs
// in order to be stored and found. What it died of may be that its subject, headers or packet are
// not valid.
func parseLetter(raw []byte, appID string) (*schema.Letter, error) {
	var l schema.Letter
	if !utf8.Valid(raw) {
		return nil, errors.New("it is not UTF-8")
	}
	if err := json.Unmarshal(raw, &l); err != nil {
		return nil, notALetter(err)
	}
	if err := schema.CheckToken("appid", l.AppID); err != nil {
		return nil, err
	}
	if err := schema.CheckID(l.ID); err != nil {
		return nil, err
	}
	switch {
	case appID != "" && l.AppID != appID:
		return nil, errors.New("appid: not the one that --app chooses")
	case !slices.Contains(schema.Reasons(), l.Reason):
		return nil, errors.New("reason: missing, or none that is known")
	case l.Lane != "" && l.Lane != schema.LaneLive && l.Lane != schema.LaneBulk:
		return nil, errors.New("lane: not live or bulk")
	case l.Generation < 0 || l.Generation > MaxGeneration:
		return nil, fmt.Errorf("generation: not within 0 and %d", MaxGeneration)
	case l.Subject == "":
		return nil, errors.New("subject: missing")
	case l.Body != "" && l.BodyBase64 != nil:
		return nil, errors.New("body: must not stand beside body_base64")
	case l.DiedAt.IsZero():
		return nil, errors.New("died_at: missing")
	}
	return &l, nil
}

// notALetter says what is wrong with the JSON of a line, without quoting it.
func notALetter(err error) error {
	var mismatch *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &mismatch) && mismatch.Field == "":
		return errors.New("it is no JSON object")
	case errors.As(err, &mismatch):
		return fmt.Errorf("%s: is a JSON %s", mismatch.Field, mismatch.Value)
	case errors.As(err, &syntax):
		return errors.New("it is no JSON")
	}
	return errors.New("a time or base64 in it cannot be read")
}
