package kfaccount

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
)

func TestAPasswordMayBeginWithAByteOrderMark(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"plain", "\ufeffplain"} {
		env := cli.New(cli.Process{In: strings.NewReader(file + "\r\n")})
		w := &wish{access: access{streams: env.Streams}}
		password, err := w.readPassword("-")
		require.NoError(t, err)
		require.Equal(t, "plain", password)
	}
}
