package sandbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// step is something that happens to a user, and then a send with its errcode.
type step struct {
	does  Action
	later time.Duration
	sends int // that are taken
	then  int // errcode of the next send; 0 when there is none
}

func TestWindows(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		set   Settings
		steps []step
	}{
		{"without a window everything is taken", Settings{}, []step{{sends: 30}}},
		{"somebody who never did anything is out of reach",
			Settings{Window: WindowToday}, []step{{then: 45015}}},
		{"five for a message",
			Settings{Window: WindowToday}, []step{{does: UserMessaged, sends: 5, then: 45047}}},
		{"in 48 hours", Settings{Window: WindowToday},
			[]step{{does: UserMessaged, later: 48*time.Hour - time.Minute, sends: 1},
				{later: time.Minute, then: 45015}}},
		{"the window is over before the allowance is",
			Settings{Window: WindowToday},
			[]step{{does: UserMessaged, sends: 5}, {later: 48 * time.Hour, then: 45015}}},
		{"a new message is a new allowance",
			Settings{Window: WindowToday},
			[]step{{does: UserMessaged, sends: 5, then: 45047},
				{does: UserMessaged, sends: 5, then: 45047}}},
		{"three for a click",
			Settings{Window: WindowToday}, []step{{does: UserClicked, sends: 3, then: 45047}}},
		{"in a minute", Settings{Window: WindowToday},
			[]step{{does: UserClicked, sends: 1}, {later: time.Minute, then: 45015}}},
		{"three for following",
			Settings{Window: WindowToday}, []step{{does: UserFollowed, sends: 3, then: 45047}}},
		{"three for a scan",
			Settings{Window: WindowToday}, []step{{does: UserScanned, sends: 3, then: 45047}}},
		{"no limit for a payment",
			Settings{Window: WindowToday},
			[]step{{does: UserPaid, sends: 30}, {later: 48 * time.Hour, then: 45015}}},
		{"the last action alone counts, even when it gives less",
			Settings{Window: WindowToday},
			[]step{{does: UserMessaged, sends: 1},
				{does: UserClicked, later: time.Minute, then: 45015}}},
		{"unfollowing closes it",
			Settings{Window: WindowToday},
			[]step{{does: UserMessaged, sends: 1}, {does: UserUnfollowed, then: 45015}}},
		{"the document knows no limit for 48 hours",
			Settings{Window: WindowDocument},
			[]step{{does: UserClicked, sends: 30}, {later: 48*time.Hour - time.Minute, sends: 30},
				{later: time.Minute, then: 45015}}},
		{"unfollowing closes the document's",
			Settings{Window: WindowDocument}, []step{{does: UserUnfollowed, then: 45015}}},
		{
			"an allowance of one's own",
			Settings{Window: WindowToday,
				Allowances: map[Action]Allowance{UserMessaged: {Sends: 20, Lasts: time.Hour}}},
			[]step{{does: UserMessaged, sends: 20, then: 45047}, {later: time.Hour, then: 45015},
				{does: UserScanned, sends: 3, then: 45047}},
		},
		{"a stranger is no openid where users are known",
			Settings{KnownUsers: true}, []step{{then: 40003}, {does: UserUnfollowed, sends: 9}}},
		{"nor is one where there is a window too",
			Settings{KnownUsers: true, Window: WindowToday},
			[]step{{then: 40003}, {does: UserFollowed, sends: 3, then: 45047}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{Settings: tc.set, TokenTTL: 1000 * time.Hour})
			for i, step := range tc.steps {
				if step.does != "" {
					b.Act(app, "oUser1", step.does)
				}
				b.Advance(step.later)
				for range step.sends {
					require.Zero(t, b.send("oUser1", "hi").code, i)
				}
				if step.then != 0 {
					require.Equal(t, step.then, b.send("oUser1", "hi").code, i)
				}
			}
		})
	}
}

func TestAllowancesAreSpentByWhatIsTaken(t *testing.T) {
	t.Parallel()
	b := start(t,
		Options{Settings: Settings{Window: WindowToday, Messages: MessageSettings{Strict: true}}})
	b.Act(app, "o1", UserScanned)
	require.Equal(t, 44004, b.send("o1", "").code, "a refused message costs nothing")
	b.Add(Rule{Call: CallSend, Reset: ResetAfter, Times: 1})
	_, err := b.do("POST", b.sendURL(), message("o1", "lost answer"))
	require.Error(t, err)
	b.Add(Rule{Call: CallSend, Errcode: -1, Times: 1})
	require.Equal(t, -1, b.send("o1", "busy").code)
	require.Zero(t, b.send("o1", "2").code)
	require.Zero(t, b.send("o1", "3").code)
	require.Equal(t, 45047, b.send("o1", "4").code)
	require.Equal(t, 3, b.Users(app)[0].Sent)
	require.Equal(t, 3, b.Stats().Delivered)
}

func TestUsersOfTwoAppsAreTwo(t *testing.T) {
	t.Parallel()
	b := start(t, Options{Settings: Settings{Window: WindowToday}})
	b.Grant("wx2", "other")
	b.Act("wx2", "o1", UserMessaged)
	require.Equal(t, 45015, b.send("o1", "hi").code)
	b.token = "other"
	require.Zero(t, b.send("o1", "hi").code)
}

func TestTypingWithinAWindow(t *testing.T) {
	t.Parallel()
	b := start(t, Options{Settings: Settings{Window: WindowToday}})
	require.Equal(t, 45015, b.typing("o1", "Typing"))
	b.Act(app, "o1", UserMessaged)
	b.Advance(18 * time.Second)
	require.Zero(t, b.typing("o1", "Typing"))
	b.Advance(15 * time.Second)
	require.Equal(t, 45080, b.typing("o1", "Typing"), "the last message was more than 30 s ago")
	require.Zero(t, b.send("o1", "hi").code)
	require.Zero(t, b.typing("o1", "Typing"), "one from us counts as well")
	b.Configure(Settings{KnownUsers: true})
	require.Equal(t, 40003, b.typing("o2", "Typing"))
	b.Advance(time.Hour)
	require.Zero(t, b.typing("o1", "Typing"), "without a window nobody asks")
}

func TestAnActionThatThereIsNotPanics(t *testing.T) {
	t.Parallel()
	require.PanicsWithValue(t,
		`sandbox: action "wave": not message, click, follow, scan, pay or unfollow`, func() {
			New(Options{}).Act(app, "o1", "wave")
		})
	require.Panics(t, func() { New(Options{}).Advance(-1) })
}
