package pause

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAPauseEndsWithItsTimeOrItsContext(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	require.NoError(t, For(t.Context(), 20*time.Millisecond))
	require.GreaterOrEqual(t, time.Since(begin), 20*time.Millisecond)

	ctx, end := context.WithCancelCause(t.Context())
	over := errors.New("it is over")
	end(over)
	require.ErrorIs(t, For(ctx, time.Hour), over)
}
