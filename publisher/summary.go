package publisher

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// kindsTold is how many kinds of failure the text of a [batchError] names.
const kindsTold = 5

// batchError says how many intents of a batch were not accepted, and why: the
// first error of each kind, with how many there were. It unwraps to every error
// of the results.
type batchError struct {
	text string
	errs []error // each once, in the order of the results
}

func (e *batchError) Error() string   { return e.text }
func (e *batchError) Unwrap() []error { return e.errs }

// summary is nil when every intent was accepted.
func summary(results []Result) error {
	type kind struct {
		first error
		count int
	}
	var (
		errs   []error
		seen   = make(map[error]bool)
		kinds  []*kind
		byName = make(map[string]*kind)
		failed int
	)
	for i := range results {
		err := results[i].Err
		if err == nil {
			continue
		}
		failed++
		if !seen[err] { // those that a full queue refuses share one error
			seen[err] = true
			errs = append(errs, err)
		}
		name := kindOf(err)
		k := byName[name]
		if k == nil {
			k = &kind{first: err}
			byName[name] = k
			kinds = append(kinds, k)
		}
		k.count++
	}
	if failed == 0 {
		return nil
	}
	told := make([]string, 0, kindsTold+1)
	for i, k := range kinds {
		if i == kindsTold {
			told = append(told, fmt.Sprintf("and %d other reasons", len(kinds)-i))
			break
		}
		told = append(told, fmt.Sprintf("%d: %v", k.count, k.first))
	}
	return &batchError{
		text: fmt.Sprintf("%d of %d intents were not accepted; %s", failed, len(results), strings.Join(told, "; ")),
		errs: errs,
	}
}

// kindOf names what errors of one kind have in common: what they are, not which
// intent they are about.
func kindOf(err error) string {
	var (
		refused *refusal
		field   *schema.FieldError
		api     *jetstream.APIError
	)
	switch {
	case errors.As(err, &refused):
		return refused.is.Error()
	case errors.As(err, &field):
		return field.Field
	case errors.As(err, &api):
		return strconv.Itoa(int(api.ErrorCode))
	}
	return err.Error()
}
