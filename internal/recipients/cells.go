package recipients

import "bytes"

// mostColumns are what Excel has.
const mostColumns = 16384

// cutter cuts rows of CSV into cells.
type cutter struct {
	delimiter byte
	most      int // of the cells that are kept
	cells     [][]byte
	unquoted  []byte // the values of cells whose text is not their value
}

const (
	bareQuote   = "not CSV: a quote inside a field that is not in quotes"
	behindQuote = "not CSV: something follows the quote that closes a field"
)

// cut returns the cells of a row, valid until the next row, and how many it has, or the rule that
// it breaks.
func (c *cutter) cut(row []byte) (cells [][]byte, n int, rule string) {
	c.cells, c.unquoted = c.cells[:0], c.unquoted[:0]
	quotes := bytes.IndexByte(row, '"') >= 0
	for n = 1; ; n++ {
		var cell []byte
		if quotes && len(row) > 0 && row[0] == '"' {
			cell, row, rule = c.unquote(row[1:])
		} else {
			end := bytes.IndexByte(row, c.delimiter)
			if end < 0 {
				end = len(row)
			}
			cell, row = row[:end], row[end:]
			if quotes && bytes.IndexByte(cell, '"') >= 0 {
				rule = bareQuote
			}
		}
		if rule != "" {
			return nil, 0, rule
		}
		if n <= c.most {
			c.cells = append(c.cells, cell)
		}
		if len(row) == 0 {
			return c.cells, n, ""
		}
		row = row[1:]
	}
}

// unquote reads a cell behind its opening quote. As in package encoding/csv, a line break of
// Windows in it is a line break.
func (c *cutter) unquote(text []byte) (cell, rest []byte, rule string) {
	begin := len(c.unquoted)
	for first := true; ; first = false {
		end := bytes.IndexByte(text, '"')
		if end < 0 {
			return nil, nil, behindQuote // the splitter has let through no such row
		}
		part := text[:end]
		text = text[end+1:]
		doubled := len(text) > 0 && text[0] == '"'
		if first && !doubled && bytes.IndexByte(part, '\r') < 0 {
			cell = part
			break
		}
		c.unquoted = append(c.unquoted, part...)
		if !doubled {
			cell = bytes.ReplaceAll(c.unquoted[begin:], []byte("\r\n"), []byte("\n"))
			break
		}
		c.unquoted = append(c.unquoted, '"')
		text = text[1:]
	}
	if len(text) > 0 && text[0] != c.delimiter {
		return nil, nil, behindQuote
	}
	return cell, text, ""
}
