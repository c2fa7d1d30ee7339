/usr/bin/time: cannot run ./kefu-new: No such file or directory
Command exited with non-zero status 127
new 0.00s 1136KB user 0.00  dead list --app wx0000000000000001 --reason recipient
