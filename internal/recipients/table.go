package recipients

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The columns that may hold the recipient.
const (
	columnOpenID = "openid"
	columnToUser = "touser"
)

// table is where a template finds its values in the columns of a file.
type table struct {
	names  []string // of the columns
	places []int    // the column of each of the template's
	openID int      // the recipient's column; -1 when the template has it from another
}

// newTable reads a header.
func newTable(header [][]byte, t *Template) (*table, error) {
	b := &table{openID: -1}
	column := make(map[string]int)
	for i, cell := range header {
		name := string(bytes.TrimSpace(cell))
		b.names = append(b.names, name)
		if name == "" {
			continue
		}
		if _, twice := column[name]; twice {
			return nil, fmt.Errorf("the header has the column %q twice: rename one of them", name)
		}
		column[name] = i
	}
	if !t.toUser {
		if err := b.findRecipient(); err != nil {
			return nil, err
		}
	}
	for _, name := range t.columns {
		i, ok := column[name]
		if !ok {
			return nil, fmt.Errorf("the template has {{%s}}, and the file has no such column, "+
				"only %s", name, b.list())
		}
		b.places = append(b.places, i)
	}
	return b, nil
}

func (b *table) findRecipient() error {
	for i, name := range b.names {
		if !isRecipient(name) {
			continue
		}
		if b.openID >= 0 {
			return fmt.Errorf("the file has both columns, %s and %s: which one is the recipient? "+
				"rename the other", b.names[b.openID], name)
		}
		b.openID = i
	}
	if b.openID >= 0 {
		return nil
	}
	text := "the header has no column openid or touser, only " + b.list()
	if len(b.names) == 1 {
		if strings.ContainsAny(b.names[0], "，；、") {
			return errors.New(text + ": separate the columns by commas of half width")
		}
		return errors.New(text + " (are the columns separated by commas?)")
	}
	return errors.New(text + ": name the recipient's column openid")
}

// isRecipient reports whether a column's name says that it holds the recipient.
func isRecipient(name string) bool {
	return strings.EqualFold(name, columnOpenID) || strings.EqualFold(name, columnToUser)
}

// list names the columns, for people.
func (b *table) list() string {
	const most = 10
	names := b.names
	more := ""
	if len(names) > most {
		names, more = names[:most], ", …"
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		if utf8.RuneCountInString(name) > 2*most {
			name = string([]rune(name)[:2*most]) + "…"
		}
		quoted[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(quoted, ", ") + more
}
