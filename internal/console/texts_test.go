package console_test

import (
	"testing"

	"github.com/kefuhq/kefu/internal/console"
	"github.com/kefuhq/kefu/internal/page/pagetest"
)

func TestEveryTextHasItsChinese(t *testing.T) {
	t.Parallel()
	pagetest.Translated(t, ".", console.Notices(), "../page")
}
