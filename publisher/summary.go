package publisher

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// BatchError says which intents of a batch were not accepted, and why. [errors.Is] and [errors.As]
// find in it whatever they find in one of its errors.
type BatchError struct {
	Total  int      // How many intents the batch had.
	Errors []*Error // Of those that were not accepted, in their order.
}

// Error returns how many were not accepted, and for what reasons.
func (e *BatchError) Error() string {
	kinds := kindsOf(e.Errors)
	texts := make([]string, 0, kindsShown+1)
	for i, k := range kinds {
		if i == kindsShown {
			texts = append(texts, fmt.Sprintf("and %d other reasons", len(kinds)-i))
			break
		}
		texts = append(texts, fmt.Sprintf("%d: %v", k.count, k.first))
	}
	return fmt.Sprintf("%d of %d intents were not accepted; %s",
		len(e.Errors), e.Total, strings.Join(texts, "; "))
}

// Unwrap returns the errors.
func (e *BatchError) Unwrap() []error {
	errs := make([]error, len(e.Errors))
	for i, err := range e.Errors {
		errs[i] = err
	}
	return errs
}

// summary is a [*BatchError], nil when every intent was accepted.
func summary(results []Result) error {
	var errs []*Error
	for i := range results {
		if err, ok := results[i].Err.(*Error); ok { //nolint:errorlint // fail sets no other
			errs = append(errs, err)
		}
	}
	if errs == nil {
		return nil
	}
	return &BatchError{Total: len(results), Errors: errs}
}

// kindsShown is how many kinds of failure the text of a [BatchError] names.
const kindsShown = 5

// kind is a kind of failure.
type kind struct {
	first error
	count int
}

func kindsOf(errs []*Error) (kinds []*kind) {
	byName := make(map[string]*kind)
	for _, err := range errs {
		name := kindOf(err.Err)
		k := byName[name]
		if k == nil {
			k = &kind{first: err.Err}
			byName[name] = k
			kinds = append(kinds, k)
		}
		k.count++
	}
	return kinds
}

// kindOf names what errors of one kind have in common: what they are, not which intent they are
// about.
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
