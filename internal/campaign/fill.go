package campaign

import (
	"context"
	"errors"
	"io"

	"github.com/kefuhq/kefu/internal/recipients"
)

// Rows are the rows of a file of recipients; a [recipients.Reader] has them.
type Rows interface {
	// Next returns the next row; io.EOF after the last.
	Next() (recipients.Row, error)
}

// Filling says how the rows of a file are taken.
type Filling struct {
	// Skip is how many rows of the file were dealt with before, see [Prospect.Skip].
	Skip int

	// Closed says whether a recipient is left out because the window for replies was closed lately.
	// nil leaves out nobody.
	Closed func(openID string) bool

	// Row is told of each row, before what it holds is used again. nil if nobody wants to know. An
	// error ends the filling.
	Row func(recipients.Row) error
}

// Fill reads all rows, adds those that are to be sent to an upload, and ends it. With no upload the
// rows are only read. It returns how many were left out by Closed.
func Fill(ctx context.Context, rows Rows, u *Upload, o Filling) (closed int, err error) {
	for {
		row, err := rows.Next()
		switch {
		case errors.Is(err, io.EOF) && u == nil:
			return closed, nil
		case errors.Is(err, io.EOF):
			return closed, u.End(ctx)
		case err != nil:
			return closed, err
		case ctx.Err() != nil:
			return closed, context.Cause(ctx)
		}
		if o.Row != nil {
			if err := o.Row(row); err != nil {
				return closed, err
			}
		}
		switch {
		case row.Problem != nil, row.Repeated, row.Number < o.Skip:
			continue
		case o.Closed != nil && o.Closed(row.OpenID):
			closed++
			continue
		}
		if u == nil {
			continue
		}
		if err := u.Add(ctx, row.Line, row.OpenID, row.Packet); err != nil {
			return closed, err
		}
	}
}
