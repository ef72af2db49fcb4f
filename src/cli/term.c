/* term.c - see term.h.
 *
 * A signal handler can only speak through static storage: the counters below are the one mutable state of this program
 * outside of its stack. They are set by handlers and taken by the main thread. */
#include "cli/term.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupts, resumed, resized, have_cooked;
static struct termios cooked; /* written before the handlers are installed */
static void (*volatile interrupt_call)(void *);
static void *volatile interrupt_arg;

void term_init(void)
{
    signal(SIGPIPE, SIG_IGN);
    /* A standard stream that the caller closed must not become the number of a file that is opened later. Opened for
     * reading only: standard input is then empty, and a write to the others fails. */
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
            return;
}

bool term_is_terminal(int which)
{
    return isatty(which);
}

int term_width(void)
{
    struct winsize w;
    for (int fd = 0; fd < 3; fd++)
        if (ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0)
            return w.ws_col;
    return 80;
}

double term_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double term_load(void)
{
    double load;
    return getloadavg(&load, 1) == 1 ? load : 0;
}

int term_processors(void)
{
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

/* ---- signals --------------------------------------------------------------------------------------------------- */

static void put_back(void)
{
    if (have_cooked)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked);
}

static void on_interrupt(int s)
{
    if (interrupts >= 2) {
        put_back();
        signal(s, SIG_DFL);
        raise(s);
        return;
    }
    interrupts++;
    void (*const f)(void *) = interrupt_call;
    if (f)
        f(interrupt_arg);
}

static void on_end(int s)
{
    put_back();
    signal(s, SIG_DFL);
    raise(s);
}

static void on_stop(int s)
{
    (void)s;
    const int e = errno;
    struct termios now;
    const bool tty = have_cooked && tcgetattr(STDIN_FILENO, &now) == 0;
    put_back();
    kill(getpid(), SIGSTOP);
    if (tty)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
    resumed = 1;
    errno = e;
}

static void on_resize(int s)
{
    (void)s;
    resized = 1;
}

static void handle(int signal_number, void (*f)(int))
{
    struct sigaction a;
    /* What the caller chose to ignore (nohup, a job in the background) stays ignored. */
    if (sigaction(signal_number, NULL, &a) == 0 && a.sa_handler == SIG_IGN)
        return;
    memset(&a, 0, sizeof a);
    a.sa_handler = f; /* no SA_RESTART: a read at the prompt must end */
    sigemptyset(&a.sa_mask);
    sigaction(signal_number, &a, NULL);
}

void term_catch(void)
{
    interrupts = 0;
    have_cooked = 0;
    if (tcgetattr(STDIN_FILENO, &cooked) == 0)
        have_cooked = 1;
    handle(SIGINT, on_interrupt);
    handle(SIGTERM, on_end);
    handle(SIGHUP, on_end);
    handle(SIGQUIT, on_end);
    handle(SIGTSTP, on_stop);
    handle(SIGWINCH, on_resize);
}

void term_release(void)
{
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        handle(all[i], SIG_DFL);
    have_cooked = 0;
}

void term_on_interrupt(void (*f)(void *), void *arg)
{
    interrupt_call = NULL; /* never the new function with the old argument */
    interrupt_arg = arg;
    interrupt_call = f;
}

bool term_interrupted(void)
{
    return interrupts > 0;
}

static bool take(volatile sig_atomic_t *flag)
{
    const bool set = *flag > 0;
    *flag = 0;
    return set;
}

bool term_take_interrupt(void)
{
    return take(&interrupts);
}

bool term_take_resumed(void)
{
    return take(&resumed);
}

bool term_take_resized(void)
{
    return take(&resized);
}

int term_read_byte(unsigned char *out)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    for (;;) {
        if (interrupts || resumed || resized)
            return -1;
        /* A signal between the look above and the wait would be missed: look again every second. */
        const int n = poll(&p, 1, 1000);
        if (n == 0 || (n < 0 && errno == EINTR))
            continue;
        if (n < 0)
            return -1;
        const ssize_t got = read(STDIN_FILENO, out, 1);
        if (got >= 0)
            return (int)got;
        if (errno != EINTR && errno != EAGAIN)
            return errno == EIO ? 0 : -1; /* EIO: the terminal has gone */
    }
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

/* Make every folder on the way to the last component of `path`. */
static void make_folders(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        mkdir(path, 0700);
        *p = '/';
    }
}

bool term_state_file(const char *name, char *out, size_t cap)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int n;
    if (state && state[0] == '/') /* the specification: a relative path is to be ignored */
        n = snprintf(out, cap, "%s/quern/%s", state, name);
    else if (home && home[0] == '/')
        n = snprintf(out, cap, "%s/.local/state/quern/%s", home, name);
    else
        return false;
    if (n < 0 || (size_t)n >= cap)
        return false;
    make_folders(out);
    const int fd = open(out, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

static bool file_fail(term_file *t)
{
    const int e = errno;
    term_file_abort(t);
    errno = e;
    return false;
}

bool term_file_open(const char *path, term_file *out)
{
    term_file t = {0};
    struct stat st;
    const bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return false;
    }
    if (there && !S_ISREG(st.st_mode)) {
        t.f = fopen(path, "wb");
        if (!t.f)
            return false;
        *out = t;
        return true;
    }
    t.target = there ? realpath(path, NULL) : strdup(path);
    if (!t.target)
        return false;
    const size_t n = strlen(t.target) + 8;
    t.temporary = malloc(n);
    if (!t.temporary)
        return file_fail(&t);
    snprintf(t.temporary, n, "%s.XXXXXX", t.target);
    const int fd = mkstemp(t.temporary);
    if (fd < 0) {
        free(t.temporary);
        t.temporary = NULL;
        return file_fail(&t);
    }
    const mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, there ? st.st_mode & 07777 : 0666 & ~mask);
    t.f = fdopen(fd, "wb");
    if (!t.f) {
        close(fd);
        return file_fail(&t);
    }
    *out = t;
    return true;
}

bool term_file_commit(term_file *t)
{
    if (fflush(t->f) != 0 || ferror(t->f))
        return file_fail(t);
    if (t->target && fsync(fileno(t->f)) != 0)
        return file_fail(t);
    FILE *f = t->f;
    t->f = NULL;
    if (fclose(f) != 0)
        return file_fail(t);
    if (t->target && rename(t->temporary, t->target) != 0)
        return file_fail(t);
    free(t->temporary);
    t->temporary = NULL;
    free(t->target);
    t->target = NULL;
    return true;
}

void term_file_abort(term_file *t)
{
    if (t->f)
        fclose(t->f);
    if (t->temporary)
        unlink(t->temporary);
    free(t->temporary);
    free(t->target);
    memset(t, 0, sizeof *t);
}

/* ---- stopping ---------------------------------------------------------------------------------------------------- */

static void (*stop_call)(void *arg);
static void *stop_arg;

static void on_end_asked(int number)
{
    (void)number;
    stop_call(stop_arg);
}

void term_on_stop(void (*f)(void *arg), void *arg)
{
    const struct sigaction a = {.sa_handler = on_end_asked, .sa_flags = SA_RESTART};
    stop_call = f;
    stop_arg = arg;
    (void)sigaction(SIGINT, &a, NULL);
    (void)sigaction(SIGTERM, &a, NULL);
}
