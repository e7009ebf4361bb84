/* series.c - a run over time: a line a second in a file, and a picture made of it by gnuplot.
 * In: samples. Out: CSV, SVG or PNG. Owns: the file. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "progress.h"

static struct {
	const struct load_options *options;
	FILE *file;
	char path[64]; /* of a file that is made for the picture alone */
	unsigned samples;
} series;

static const char *csv_path(void)
{
	return series.options->csv ? series.options->csv : series.path;
}

static bool refuse(char error[OPTIONS_ERROR_BYTES], const char *format, const char *what, const char *why)
{
	snprintf(error, OPTIONS_ERROR_BYTES, format, what, why);
	return false;
}

/* As execvp would look for it. */
static bool command_exists(const char *name)
{
	const char *at = getenv("PATH");
	char path[512];

	for (at = at ? at : "/usr/bin:/bin"; *at;) {
		size_t length = strcspn(at, ":");

		if (snprintf(path, sizeof(path), "%.*s/%s", (int)length, at, name) < (int)sizeof(path) &&
		    access(path, X_OK) == 0)
			return true;
		at += length + (at[length] == ':');
	}
	return false;
}

static const char *terminal_for(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (dot && strcmp(dot, ".svg") == 0)
		return "svg size 1000,800 dynamic";
	return dot && strcmp(dot, ".png") == 0 ? "png size 1000,800" : NULL;
}

/* The file's name goes into gnuplot's script between quotes. */
static bool is_plain(const char *path)
{
	for (; *path; path++)
		if (*path == '\'' || *path == '\n')
			return false;
	return true;
}

bool series_check(const struct load_options *options, char error[OPTIONS_ERROR_BYTES])
{
	if (!options->plot)
		return true;
	if (!terminal_for(options->plot) || !is_plain(options->plot) ||
	    (options->csv && !is_plain(options->csv)))
		return refuse(error,
			      "--plot takes the name of a file that ends with .svg or .png, not '%.100s'%s",
			      options->plot, "");
	if (!command_exists("gnuplot"))
		return refuse(error,
			      "--plot needs gnuplot, which is not there%s: 'apt-get install gnuplot-nox'%s",
			      "", "");
	return true;
}

static FILE *open_temporary(void)
{
	int fd;

	snprintf(series.path, sizeof(series.path),
		 "/tmp/c10m-load-XX"
		 "XXXX");
	fd = mkstemp(series.path);
	return fd < 0 ? NULL : fdopen(fd, "w");
}

bool series_begin(const struct load_options *options, char error[OPTIONS_ERROR_BYTES])
{
	series.options = options;
	series.file = options->csv ? fopen(options->csv, "we") : open_temporary();
	if (!series.file)
		return refuse(error, "%.100s cannot be written: %s", csv_path(), strerror(errno));
	fputs("seconds,phase,held,opened_per_second,answers_per_second,in_flight,p50_us,p99_us,max_us,lost,"
	      "not_opened\n",
	      series.file);
	fflush(series.file);
	return true;
}

/* Each line is there at once: who reads along, or stops us, has what was. */
void series_add(const struct sample *sample)
{
	fprintf(series.file,
		"%.3f,%u,%" PRIu64 ",%.0f,%.0f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
		",%" PRIu64 "\n",
		sample->seconds, sample->phase, sample->held, sample->opened, sample->requests,
		sample->in_flight, sample->p50, sample->p99, sample->max, sample->lost, sample->failed);
	fflush(series.file);
	series.samples++;
}

static void write_script(FILE *to)
{
	const char *csv = csv_path();

	fprintf(to,
		"set terminal %s\nset output '%s'\nset datafile separator ','\nset key left top\nset grid\n"
		"set xlabel 'seconds'\nset yrange [0:*]\nset format y '%%.0s%%c'\nset multiplot layout 3,1\n"
		"set title 'connections held'\nplot '%s' skip 1 using 1:3 with lines lw 2 title 'held'\n"
		"set title 'each second'\nplot '%s' skip 1 using 1:4 with lines lw 2 title 'opened', "
		"'%s' skip 1 using 1:5 with lines lw 2 title 'answers'\n"
		"set title 'latency, microseconds'\nset yrange [1:*]\nset logscale y\n"
		"plot '%s' skip 1 using 1:($7>0?$7:NaN) with lines lw 2 title 'p50', "
		"'%s' skip 1 using 1:($8>0?$8:NaN) with lines lw 2 title 'p99', "
		"'%s' skip 1 using 1:($9>0?$9:NaN) with lines title 'max'\nunset multiplot\n",
		terminal_for(series.options->plot), series.options->plot, csv, csv, csv, csv, csv, csv);
}

static bool draw(char error[OPTIONS_ERROR_BYTES])
{
	FILE *gnuplot;
	int code;

	if (series.samples < 2)
		return refuse(error, "--plot %.100s is not made%s: the run took less than three seconds",
			      series.options->plot, "");
	gnuplot = popen("gnuplot", "we");
	if (!gnuplot)
		return refuse(error, "%s cannot be started: %s", "gnuplot", strerror(errno));
	write_script(gnuplot);
	code = pclose(gnuplot);
	return code == 0 || refuse(error, "gnuplot could not make %.100s%s: see what it says above",
				   series.options->plot, "");
}

bool series_end(char error[OPTIONS_ERROR_BYTES])
{
	bool good = !ferror(series.file);

	good &= fclose(series.file) == 0;
	if (!good)
		refuse(error, "%.100s could not be written whole%s: is the disk full?", csv_path(), "");
	if (good && series.options->plot)
		good = draw(error);
	if (!series.options->csv)
		unlink(series.path);
	return good;
}
