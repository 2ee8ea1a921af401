"""A pseudo-terminal around a command: types SCRIPT in pieces, changes the window's size at RESIZE, ends with [exit CODE]."""
import fcntl, os, pty, select, signal, struct, sys, termios, time

steps = os.environ.get("SCRIPT", "").split("|")
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])


def size(rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


size(30, 100)
out, begun = b"", time.time()
due = None  # Nothing is typed before the other side has said something, and has been quiet for a moment.
while time.time() < begun + float(os.environ.get("MAX", "15")):
    if select.select([fd], [], [], 0.1)[0]:
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        if not data:
            break
        out += data
        due = time.time() + 0.5
    if steps and due and time.time() > due:
        step = steps.pop(0)
        if step == "RESIZE":
            size(40, 120)
            os.kill(pid, signal.SIGWINCH)
        else:
            os.write(fd, step.encode().decode("unicode_escape").encode())
        due = time.time() + 0.5
else:
    os.kill(pid, signal.SIGKILL)
status = os.waitpid(pid, 0)[1]
print(out.decode(errors="replace") + "[exit %d]" % os.waitstatus_to_exitcode(status))
