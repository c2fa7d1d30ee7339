package dead

import (
	"context"
	"fmt"
	"strings"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
)

// noMatch returns the error that ends a verb whose filter chooses no letter: it says which of the
// conditions is to blame. For that it looks at the whole box, but for ids, which may be those of
// messages that did not die.
func noMatch(ctx context.Context, box *deadletter.Box, filter deadletter.Filter) error {
	others := filter
	others.AppID, others.IDs = "", nil
	if len(filter.IDs) > 0 && others.IsZero() {
		return noneOfIDs(filter)
	}
	excluded, err := box.Excluded(ctx, filter)
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		return cli.Nothingf("no dead letter matches") // which is true without the reason
	}
	return cli.Nothingf("no dead letter matches: %s", whyNone(excluded))
}

func noneOfIDs(filter deadletter.Filter) error {
	of := ""
	if filter.AppID != "" {
		of = " of " + filter.AppID
	}
	if len(filter.IDs) > 1 {
		return cli.Nothingf("no dead letter%s has one of the %d ids: kefu find tells what became of each",
			of, len(filter.IDs))
	}
	return cli.Nothingf("no dead letter%s has the id %q: kefu find tells what became of it", of,
		filter.IDs[0])
}

// whyNone says why a filter chooses nothing.
func whyNone(e deadletter.Exclusions) string {
	if e.Looked == 0 {
		return "the box is empty"
	}
	most, ok := e.Most()
	if !ok { // it died since the verb looked
		return "look again"
	}
	lie := "letters lie"
	if e.Looked == 1 {
		lie = "letter lies"
	}
	box := fmt.Sprintf("%s %s in the box", cli.Grouped(int64(e.Looked)), lie)
	asked := asFlag(most)
	switch {
	case most.Count == e.Looked && (most.Alone == e.Looked || most.Alone == 0):
		return fmt.Sprintf("%s, and %s excludes %s%s", box, asked, allOf(e.Looked), instead(most))
	case most.Alone > 0:
		return fmt.Sprintf("%s, and %s excludes %s that would match otherwise%s", box, asked,
			theLast(most.Alone), instead(most))
	}
	return fmt.Sprintf("%s, and %s excludes %s of them%s", box, asked,
		cli.Grouped(int64(most.Count)), instead(most))
}

func allOf(n int) string {
	if n == 1 {
		return "it"
	}
	return "all of them"
}

// theLast names how many letters only one condition excludes.
func theLast(n int) string {
	if n == 1 {
		return "the only one"
	}
	return "the " + cli.Grouped(int64(n))
}

// asFlag returns a condition as it is written on a command line. The name of a recipient is left
// out.
func asFlag(e deadletter.Exclusion) string {
	flag := "--" + e.Condition
	switch e.Condition {
	case "id":
		flag = "the id" // verbs take ids as arguments, too
		if strings.Contains(e.Value, ",") {
			flag = "the ids"
		}
	case "text":
		flag = "--search"
	}
	return strings.TrimSpace(flag + " " + cli.Clean(e.Value))
}

// instead says in brackets what the excluded letters have.
func instead(e deadletter.Exclusion) string {
	switch {
	case e.Condition == "since":
		return fmt.Sprintf(" (the newest died %s)", cli.Moment(e.Newest))
	case e.Condition == "until":
		return fmt.Sprintf(" (the oldest died %s)", cli.Moment(e.Oldest))
	case len(e.Instead) == 0:
		return ""
	}
	values := cli.Clean(strings.Join(e.Instead, ", "))
	switch {
	case e.Condition == "min-attempts":
		return fmt.Sprintf(" (most of them have %s)", cli.Clean(e.Instead[0]))
	case len(e.Instead) == 1:
		return fmt.Sprintf(" (the most frequent %s is %s)", e.Condition, values)
	}
	return fmt.Sprintf(" (the most frequent %ss are %s)", e.Condition, values)
}
