package page_test

import (
	"testing"

	"github.com/kefuhq/kefu/internal/page/pagetest"
)

func TestEveryTextOfTheShellHasItsChinese(t *testing.T) {
	t.Parallel()
	pagetest.Translated(t, ".", nil)
}
