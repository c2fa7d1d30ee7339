package plainjson_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/plainjson"
)

func TestNothingIsEscapedForHTML(t *testing.T) {
	t.Parallel()
	b, err := plainjson.Marshal(map[string]string{"a": `<a href="b">&</a>` + "\n"})
	require.NoError(t, err)
	require.Equal(t, `{"a":"<a href=\"b\">&</a>\n"}`, string(b))
	_, err = plainjson.Marshal(func() {})
	require.Error(t, err)
}
