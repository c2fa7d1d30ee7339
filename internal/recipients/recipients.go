package recipients

import (
	"errors"

	"github.com/kefuhq/kefu/schema"
)

// Format is how a file of recipients is laid out.
type Format string

// The formats of a file.
const (
	CSV    Format = "csv"    // RFC 4180 with a header row; the delimiter is , ; | or a tab
	TSV    Format = "tsv"    // CSV with tabs
	NDJSON Format = "ndjson" // one JSON object on each line
	List   Format = "list"   // one openid on each line, no header
)

// ErrNoTemplate says that the rows of a file are no packets by themselves.
var ErrNoTemplate = errors.New("needs a template")

// Options say how a file is read.
type Options struct {
	Name     string        // of the file; its extension may tell the format; "" for standard input
	Format   Format        // "" to find it out
	Encoding string        // utf-8, utf-16, utf-16le, utf-16be or gb18030; "" to find it out
	Template *Template     // nil: the lines of an NDJSON file are packets
	Limits   schema.Limits // of the app
}

// Row is a row of the file, judged. Its slices are valid until the next call of Next.
type Row struct {
	Number   int      // from 0, without the header and empty lines
	Line     int      // where it begins, from 1
	Problem  *Problem // nil when the packet is valid
	Repeated bool     // a valid row whose recipient had a valid one before
	OpenID   string   // of a valid row
	MsgType  string   // of a valid row
	Packet   []byte   // of a valid row
	Raw      []byte   // the row's text without its line end
}

// Problem is what is wrong with one row. It holds no value of the row.
type Problem struct {
	Line  int    `json:"line"` // where the row begins, from 1
	Field string `json:"field"`
	Rule  string `json:"rule"`
}

// Summary is what is known of a file, as far as it was read.
type Summary struct {
	Rows       int            `json:"rows"`       // without the header and empty lines
	Recipients int            `json:"recipients"` // rows to publish: valid, each recipient once
	Invalid    int            `json:"invalid"`    // rows that break a rule
	Repeated   int            `json:"repeated"`   // valid rows but the first of each recipient
	MsgTypes   map[string]int `json:"msgtypes,omitempty"`
	Problems   []Problem      `json:"problems,omitempty"` // the first MostProblems of them

	// File is the SHA-256 of the file as it is stored, in hexadecimal; "" before its end was read.
	File     string `json:"file_sha256"`
	Template string `json:"template_sha256,omitempty"`
}

// MostProblems is how many problems a summary lists.
const MostProblems = 100
